// The collectives that a step runs and the bytes that a rank receives in them, counted at the
// communicator, are what closed forms say.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "ATen/Parallel.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/layout/execution_schedule.h"
#include "common/layout/flat_layout.h"
#include "common/layout/gpt2_description.h"
#include "common/layout/schedule_options.h"
#include "common/layout/strategy.h"
#include "gtest/gtest.h"
#include "tests/equivalence/mode_run.h"
#include "worker/comm/communicator.h"
#include "worker/comm/connect.h"
#include "worker/comm/local_communicator.h"
#include "worker/comm/testing/rank_processes.h"
#include "worker/dp/flat_clipping.h"
#include "worker/dp/gradient_pass.h"
#include "worker/fsdp/sharded_parameters.h"
#include "worker/models/model.h"
#include "worker/train/executor.h"

namespace sotto::equivalence {
namespace {

constexpr int64_t kBlocks = 4;
constexpr int64_t kMicroBatches = 3;  // per rank
constexpr int64_t kVocabulary = 11;
constexpr int64_t kRegionElements = 32 * 24 * 8;

struct Traffic {
  int64_t gathers = 0;
  int64_t reduces = 0;       // reduce-scatters
  int64_t replica_sums = 0;  // all-reduces
  int64_t bytes = 0;         // received by one rank

  std::string Text() const {
    return absl::StrCat(gathers, " gathers, ", reduces, " reduces, ", replica_sums,
                        " sums over replicas, ", bytes, " bytes");
  }
  friend bool operator==(const Traffic&, const Traffic&) = default;
};

int64_t Bytes(size_t elements) { return static_cast<int64_t>(elements * sizeof(float)); }

// Counts what it hands on.
class CountingCommunicator : public comm::Communicator {
 public:
  explicit CountingCommunicator(comm::Communicator& communicator) : communicator_(communicator) {}

  int rank() const override { return communicator_.rank(); }
  int world_size() const override { return communicator_.world_size(); }
  absl::Status AllGather(const comm::RankGroup& group, absl::Span<const float> shard,
                         absl::Span<float> whole) override {
    ++traffic_.gathers;
    traffic_.bytes += Bytes(whole.size() - shard.size());
    return communicator_.AllGather(group, shard, whole);
  }
  absl::Status ReduceScatterAdd(const comm::RankGroup& group, absl::Span<const float> whole,
                                absl::Span<float> accumulator) override {
    ++traffic_.reduces;
    traffic_.bytes += Bytes(whole.size() - accumulator.size());
    return communicator_.ReduceScatterAdd(group, whole, accumulator);
  }
  // A reduce-scatter and a gather of the values.
  absl::Status AllReduceSum(const comm::RankGroup& group, absl::Span<float> values) override {
    ++traffic_.replica_sums;
    traffic_.bytes += 2 * (group.size - 1) * Bytes(values.size()) / group.size;
    return communicator_.AllReduceSum(group, values);
  }
  absl::Status AllReduceSum(const comm::RankGroup& group, absl::Span<double> values) override {
    return communicator_.AllReduceSum(group, values);
  }
  absl::Status Barrier() override { return communicator_.Barrier(); }
  void Abort() override { communicator_.Abort(); }

  Traffic Take() { return std::exchange(traffic_, {}); }

 private:
  comm::Communicator& communicator_;
  Traffic traffic_;
};

struct Case {
  layout::NamedStrategy strategy;
  std::string mode;
  std::vector<int> kept;  // blocks that stay gathered after their forward
  int slots = 2;
  int prefetch_depth = 0;
  bool biases_only = false;  // weights frozen: every unit has both regions

  std::string Name() const {
    return absl::StrCat(std::string(strategy.name), " ", mode, ", ", kept.size(), " kept, ", slots,
                        " slots, prefetch ", prefetch_depth, biases_only ? ", biases only" : "");
  }
};

std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (const layout::NamedStrategy& strategy : layout::kStrategies) {
    for (const std::string mode : {"no_dp", "flash", "flash_bk", "per_example"}) {
      for (const bool biases_only : {false, true}) {
        cases.push_back({.strategy = strategy, .mode = mode, .biases_only = biases_only});
        if (layout::HasSlotPerUnit(strategy.strategy)) continue;
        for (const std::vector<int>& kept : {std::vector<int>{}, {2}, {1, 4}, {1, 2, 3, 4}}) {
          for (int slots : {1, 2, 3, 4}) {
            for (int prefetch_depth = 0; prefetch_depth < slots; ++prefetch_depth) {
              cases.push_back({strategy, mode, kept, slots, prefetch_depth, biases_only});
            }
          }
        }
      }
    }
  }
  return cases;
}

layout::ModelDescription ModelOf(const Case& tested) {
  layout::ModelDescription model =
      *layout::MakeGpt2Description({.vocabulary_size = kVocabulary,
                                    .width = 4,
                                    .layers = static_cast<int>(kBlocks),
                                    .heads = 2,
                                    .max_length = 8});
  if (!tested.biases_only) return model;
  for (layout::UnitDescription& unit : model.units) {
    for (layout::ParameterDescription& parameter : unit.parameters) {
      parameter.trainable = parameter.shape.size() == 1;
    }
  }
  return model;
}

// Of `shards` ranks that hold a copy together and `replicas` copies. All blocks are alike.
Traffic Expected(const Case& tested, const layout::FlatLayout& layout, int64_t shards,
                 int64_t replicas) {
  const auto received = [&](int64_t padded) { return 4 * (padded / shards) * (shards - 1); };
  const int64_t regions = tested.biases_only ? 2 : 1;
  const int64_t units = kBlocks + 1;
  const layout::UnitLayout& root = layout.unit(0);
  const layout::UnitLayout& block = layout.unit(1);
  // Gathers of blocks and rounds of reduces in a step.
  int64_t gathers = 0, rounds = 1;
  const int64_t kept = static_cast<int64_t>(tested.kept.size());
  if (tested.strategy.strategy == layout::Strategy::kShardGradOp) {
    gathers = kBlocks;
  } else if (!layout::HasSlotPerUnit(tested.strategy.strategy)) {
    // Each pass begins where the one before ended: with k blocks at hand.
    const int64_t sharing = kBlocks - kept;
    const int64_t at_hand = std::min<int64_t>(tested.slots, sharing);
    const int64_t passes = tested.mode == "flash" && at_hand < sharing ? 3 : 2;
    const int64_t later_pass = sharing - at_hand;
    // The second backward pass goes from the last block again, which the first one left behind.
    const int64_t first = sharing + later_pass + (passes == 3 ? sharing : 0);
    gathers = kept + first + (kMicroBatches - 1) * (first - at_hand);
    rounds = kMicroBatches;
  }
  const bool gathered = tested.strategy.strategy != layout::Strategy::kNoShard;
  Traffic traffic;
  if (gathered) {
    traffic.gathers = regions * (gathers + 1);
    traffic.reduces = rounds * units;
    traffic.bytes =
        received(root.padded_elements) + received(root.frozen.padded_elements) +
        gathers * (received(block.padded_elements) + received(block.frozen.padded_elements)) +
        rounds * (received(root.padded_elements) + kBlocks * received(block.padded_elements));
  }
  if (tested.strategy.strategy == layout::Strategy::kNoShard ||
      tested.strategy.strategy == layout::Strategy::kHybridShard) {
    traffic.replica_sums = units;
    traffic.bytes +=
        2 * (replicas - 1) * 4 * (root.shard_elements + kBlocks * block.shard_elements) / replicas;
  }
  return traffic;
}

absl::Status RunCase(const Case& tested, CountingCommunicator& communicator) {
  const layout::RankGrid grid = *layout::MakeRankGrid(
      tested.strategy.strategy, communicator.world_size(), communicator.world_size() / 2);
  const layout::ModelDescription model = ModelOf(tested);
  const layout::FlatLayout layout = *layout::FlatLayout::Create(model, grid.shards);
  layout::ScheduleChoice choice{.mode = *layout::FindMode(tested.mode),
                                .strategy = tested.strategy.strategy,
                                .gathered_slots = tested.slots,
                                .prefetch_depth = tested.prefetch_depth};
  if (!tested.kept.empty()) choice.kept_gathered.resize(kBlocks + 1);
  for (int block : tested.kept) choice.kept_gathered[block] = true;
  ASSIGN_OR_RETURN(const auto parameters,
                   fsdp::ShardedParameters::Create(model, layout, communicator,
                                                   {.gathered_slots = tested.slots,
                                                    .strategy = tested.strategy.strategy,
                                                    .kept_gathered = choice.kept_gathered}));
  parameters->Initialize(3);
  ASSIGN_OR_RETURN(const std::shared_ptr<const dp::ClippingRule> clipping,
                   dp::FlatClipping::Create(1, /*margin=*/0));
  ASSIGN_OR_RETURN(const auto pass, dp::GradientPass::Create(layout, {.mode = choice.mode,
                                                                      .clipping = clipping,
                                                                      .loss_bound = 100,
                                                                      .max_examples = 2}));
  ASSIGN_OR_RETURN(const auto stages, models::Model::Create(model, {}));
  const layout::ScheduleOptions options = layout::MakeScheduleOptions(model, choice);
  train::Executor executor(options, *stages, *parameters, *pass);
  communicator.Take();
  RETURN_IF_ERROR(
      executor
          .SumGradients(kMicroBatches, [&](int i) { return MakeMicroBatch(2, 5, kVocabulary, i); })
          .status());
  const Traffic measured = communicator.Take();
  const Traffic expected = Expected(tested, layout, grid.shards, grid.replicas);
  const layout::CollectiveCounts planned = layout::CountCollectives(
      *layout::BuildSchedule(options, kMicroBatches), layout, grid.replicas);
  if (measured == expected && measured.bytes == planned.bytes_received) return absl::OkStatus();
  return absl::InternalError(absl::StrCat(tested.Name(), ": ", measured.Text(), "; expected ",
                                          expected.Text(), "; planned ", planned.bytes_received,
                                          " bytes"));
}

const comm::RankBodyRegistration kTraffic("traffic", [](const comm::RankContext& context) {
  at::set_num_threads(1);
  const std::unique_ptr<comm::Communicator> communicator =
      *comm::Connect({.rank = context.rank,
                      .world_size = context.world_size,
                      .memfd = context.memfd,
                      .region_elements = kRegionElements});
  CountingCommunicator counting(*communicator);
  for (const Case& tested : Cases()) RETURN_IF_ERROR(RunCase(tested, counting));
  return communicator->Barrier();
});

class TrafficTest : public ::testing::TestWithParam<int> {};

TEST_P(TrafficTest, EqualsTheClosedForms) {
  comm::RankProcesses ranks(
      {.body = "traffic",
       .world_size = GetParam(),
       .memfd_bytes = comm::LocalCommunicator::MemfdBytes(GetParam(), kRegionElements)});
  EXPECT_TRUE(ranks.AllSucceed());
}

// HYBRID_SHARD has two replicas.
INSTANTIATE_TEST_SUITE_P(WorldSizes, TrafficTest, ::testing::Values(2, 4));

}  // namespace
}  // namespace sotto::equivalence
