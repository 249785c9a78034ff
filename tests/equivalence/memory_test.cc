// What a rank needs is what the plan says: measured peak <= plan <= 1.05 measured.
#include <algorithm>
#include <cstdint>
#include <iostream>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/layout/memory.h"
#include "common/spec/model_layout.h"
#include "gtest/gtest.h"
#include "tests/equivalence/training_run.h"
#include "worker/comm/testing/rank_processes.h"

namespace sotto::equivalence {
namespace {

struct Case {
  std::string name;
  RunOptions options;
};

layout::MemoryEstimate Estimate(const RunOptions& options, const v1::JobPlan& plan) {
  const layout::ModelDescription model = *spec::DescribeModel(plan.spec().model());
  const layout::FlatLayout layout =
      *layout::FlatLayout::Create(model, plan.sharding().shard_group_size());
  return layout::EstimateMemory(model, layout,
                                {.gathered_slots = plan.sharding().gathered_slots(),
                                 .gradient_slots = plan.sharding().gradient_slots(),
                                 .mode = *spec::ModeOf(plan.sharding().mode()),
                                 .micro_batch_size = options.micro_batch_size,
                                 .longest_length = options.max_length,
                                 .optimizer_states = 2,
                                 .strategy = *layout::FindStrategy(options.strategy),
                                 .world_size = options.world_size});
}

class MemoryTest : public ::testing::TestWithParam<Case> {};

// A peak differs by a per cent from run to run: the plan must be above each one, and near the
// largest of at most three.
constexpr int kMostRuns = 3;

void Print(const Case& tested, int64_t measured, int64_t planned,
           const layout::MemoryEstimate& estimate) {
  const double mebibyte = 1 << 20;
  std::cout << tested.name << ": measured " << measured / mebibyte << " MiB, estimate "
            << planned / mebibyte << " MiB (ratio "
            << static_cast<double>(planned) / static_cast<double>(measured) << "); shards "
            << (estimate.parameters_bytes + estimate.gradient_bytes + estimate.optimizer_bytes) /
                   mebibyte
            << " slots " << estimate.slots_bytes / mebibyte << " activations "
            << estimate.activations_bytes / mebibyte << " held "
            << estimate.held_gradients_bytes / mebibyte << " workspace "
            << estimate.workspace_bytes / mebibyte << " communicator "
            << estimate.communicator_bytes / mebibyte << " baseline "
            << estimate.baseline_bytes / mebibyte << std::endl;
}

TEST_P(MemoryTest, MeasuredPeakIsWithinTheEstimate) {
  int64_t planned = 0;
  int64_t largest = 0;
  for (int i = 0; i < kMostRuns && (i == 0 || planned > 1.05 * static_cast<double>(largest)); ++i) {
    const std::string directory = *MakeTempDir(absl::StrCat(::testing::TempDir(), "/sotto-"));
    const RunResult run = Train(directory, GetParam().options);
    ASSERT_TRUE(run.succeeded);
    const layout::MemoryEstimate estimate =
        Estimate(GetParam().options, MakePlan(directory, GetParam().options));
    planned = estimate.total_bytes() - layout::kControlBytes;  // No coordinator here.
    Print(GetParam(), run.peak_bytes, planned, estimate);
    EXPECT_LE(run.peak_bytes, planned);
    largest = std::max(largest, run.peak_bytes);
  }
  EXPECT_LE(planned, 1.05 * static_cast<double>(largest));
}

// Short runs: the second step allocates nothing new. `records` and the rate give several full
// micro-batches of the longest length.
RunOptions Sized(std::string mode, int world_size, int32_t width, int32_t layers,
                 int32_t vocabulary_size, int32_t max_length, int32_t micro_batch_size) {
  return {.world_size = world_size,
          .mode = std::move(mode),
          .end_step = 2,
          .records = 8 * micro_batch_size,
          .sampling_rate = 0.9,
          .micro_batch_size = micro_batch_size,
          .width = width,
          .layers = layers,
          .heads = 4,
          .vocabulary_size = vocabulary_size,
          .max_length = max_length};
}

// A model of ten million parameters.
Case Wide(std::string name, std::string mode, std::string strategy = "FULL_SHARD",
          bool deferred_norms = false, int world_size = 2) {
  RunOptions options = Sized(std::move(mode), world_size, 256, 8, 8192, 126, 8);
  options.strategy = std::move(strategy);
  options.shard_group_size = 1;
  options.deferred_norms = deferred_norms;
  options.records = 4 * options.micro_batch_size;
  return {std::move(name), options};
}

INSTANTIATE_TEST_SUITE_P(
    Cases, MemoryTest,
    ::testing::Values(Case{"tiny", Sized("per_example", 1, 32, 2, 64, 24, 2)},
                      Case{"demo", Sized("per_example", 2, 96, 4, 257, 129, 16)},
                      Case{"demo_flash", Sized("flash", 2, 96, 4, 257, 129, 16)},
                      Case{"demo_no_dp", Sized("no_dp", 2, 96, 4, 257, 129, 16)},
                      Case{"long_flash", Sized("flash", 4, 256, 4, 1024, 510, 8)},
                      Wide("no_dp", "no_dp", "FULL_SHARD", false, 1), Wide("ghost", "ghost"),
                      Wide("ghost_bk", "ghost_bk"), Wide("flash", "flash"),
                      Wide("flash_bk", "flash_bk"), Wide("flash_fuse", "flash_fuse"),
                      Wide("flash_fuse_bk", "flash_fuse_bk"), Wide("per_example", "per_example"),
                      Wide("flash_deferred", "flash", "FULL_SHARD", true),
                      Wide("flash_bk_deferred", "flash_bk", "FULL_SHARD", true),
                      Wide("per_example_deferred", "per_example", "FULL_SHARD", true),
                      Wide("shard_grad_op", "flash", "SHARD_GRAD_OP"),
                      Wide("no_shard", "flash", "NO_SHARD"),
                      Wide("hybrid_shard", "flash", "HYBRID_SHARD"),
                      Wide("no_shard_per_example", "per_example", "NO_SHARD")),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace sotto::equivalence

int main(int argc, char** argv) { return sotto::comm::RankTestMain(argc, argv); }
