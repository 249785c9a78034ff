#include "tests/equivalence/world_sums.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "ATen/Parallel.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "common/base/clock.h"
#include "common/base/files.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "common/layout/flat_layout.h"
#include "common/layout/schedule_options.h"
#include "gtest/gtest.h"
#include "worker/comm/connect.h"
#include "worker/comm/local_communicator.h"
#include "worker/comm/testing/rank_processes.h"
#include "worker/dp/flat_clipping.h"
#include "worker/dp/gradient_pass.h"
#include "worker/fsdp/sharded_parameters.h"
#include "worker/models/testing/all_layers_model.h"
#include "worker/train/agreement.h"
#include "worker/train/executor.h"
#include "worker/train/phase_profile.h"

namespace sotto::equivalence {
namespace {

constexpr int kSlots = 2;
constexpr int64_t kRegionElements = 32 * 24 * 8;  // Divisible by 32 W for every W tested.

// The profile counts what the schedule says.
absl::Status CheckProfile(const train::PhaseProfile& profile,
                          const layout::ScheduleOptions& options, int micro_batches,
                          const layout::FlatLayout& layout) {
  using train::Phase;
  ASSIGN_OR_RETURN(const layout::ExecutionSchedule schedule,
                   layout::BuildSchedule(options, micro_batches));
  const layout::CollectiveCounts counts = layout::CountCollectives(schedule, layout);
  const auto stages = static_cast<int64_t>(options.stages.size());
  const bool clips = options.kept != layout::Kept::kNothing;
  const bool two_passes = options.kept == layout::Kept::kActivations;
  const auto folds =
      std::count_if(schedule.operations.begin(), schedule.operations.end(),
                    [](const auto& line) { return line.operations.Has(layout::Operation::kFold); });
  for (const auto& [phase, expected] :
       {std::pair(Phase::kForward, micro_batches * stages),
        std::pair(Phase::kFirstBackward, micro_batches * stages),
        std::pair(Phase::kSecondBackward, two_passes ? micro_batches * stages : 0),
        std::pair(Phase::kCoefficients, int64_t{clips ? micro_batches : 0}),
        std::pair(Phase::kFold, int64_t{folds}),
        std::pair(Phase::kGather, counts.block_gathers + counts.root_gathers),
        std::pair(Phase::kReduce, counts.reduces)}) {
    if (profile.total(phase).count == expected) continue;
    return absl::InternalError(absl::StrCat(std::string(profile.total(phase).name), " counted ",
                                            profile.total(phase).count, " and not ", expected));
  }
  return absl::OkStatus();
}

// The last micro-batch's gradient norms as a line of text.
std::string NormsLine(const dp::GradientPass& pass) {
  std::string line;
  const at::Tensor& norm_sq_B = pass.private_norm_sq_B();
  for (int64_t b = 0; b < norm_sq_B.size(0); ++b) {
    absl::StrAppendFormat(&line, "%.17g ", std::sqrt(norm_sq_B[b].item<double>()));
  }
  return line + "\n";
}

// The gradient shards of all units, gathered, without padding: the same bits on every replica.
absl::StatusOr<std::string> GatherSums(fsdp::ShardedParameters& parameters,
                                       const layout::FlatLayout& layout,
                                       comm::Communicator& communicator) {
  std::string bytes;
  for (int unit = 0; unit < layout.num_units(); ++unit) {
    const at::Tensor& shard = parameters.GradientShard(unit);
    std::vector<float> whole(layout.unit(unit).padded_elements);
    RETURN_IF_ERROR(communicator.AllGather(
        parameters.shard_group(),
        absl::MakeConstSpan(shard.data_ptr<float>(), static_cast<size_t>(shard.numel())),
        absl::MakeSpan(whole)));
    bytes.append(reinterpret_cast<const char*>(whole.data()),
                 layout.unit(unit).aligned_elements * sizeof(float));
  }
  RETURN_IF_ERROR(train::CheckRanksAgree(communicator, "sum", bytes));
  return bytes;
}

struct RankResult {
  std::string sums;   // of all units, gathered
  std::string norms;  // NormsLine; an empty line where the mode has no norms
};

// This rank's part of the step, as training runs it.
absl::StatusOr<RankResult> RunCase(const SumCase& sum_case, bool tied_head, double clip_norm,
                                   comm::Communicator& communicator) {
  const layout::ModelDescription model = SumModel(tied_head);
  ASSIGN_OR_RETURN(const layout::FlatLayout layout,
                   layout::FlatLayout::Create(model, sum_case.shards));
  ASSIGN_OR_RETURN(
      const std::unique_ptr<fsdp::ShardedParameters> parameters,
      fsdp::ShardedParameters::Create(
          model, layout, communicator,
          {.gathered_slots = kSlots, .gradient_slots = kSlots, .strategy = sum_case.strategy}));
  parameters->Initialize(kSumSeed);
  ASSIGN_OR_RETURN(std::shared_ptr<const dp::ClippingRule> clipping,
                   dp::FlatClipping::Create(clip_norm, /*margin=*/0));
  ASSIGN_OR_RETURN(const std::unique_ptr<dp::GradientPass> pass,
                   dp::GradientPass::Create(layout, {.mode = sum_case.mode,
                                                     .layer_modes = sum_case.layer_modes,
                                                     .clipping = std::move(clipping),
                                                     .loss_bound = 100,
                                                     .max_examples = 4}));
  const std::unique_ptr<models::Model> stages = models::MakeAllLayersModel(model, {});
  const layout::ScheduleOptions schedule =
      layout::MakeScheduleOptions(model, {.mode = sum_case.mode,
                                          .layer_modes = sum_case.layer_modes,
                                          .strategy = sum_case.strategy,
                                          .gathered_slots = kSlots,
                                          .gradient_slots = kSlots});
  train::PhaseProfile profile(RealClock::Get());
  train::Executor executor(schedule, *stages, *parameters, *pass, &profile);

  const int count = MicroBatchesPerRank(communicator.world_size());
  const auto load = [&](int i) {
    return MicroBatchOf(communicator.world_size(), communicator.rank(), i);
  };
  RETURN_IF_ERROR(executor.SumGradients(count, load).status());
  RETURN_IF_ERROR(CheckProfile(profile, schedule, count, layout));
  ASSIGN_OR_RETURN(std::string sums, GatherSums(*parameters, layout, communicator));
  const bool has_norms = sum_case.mode.norm != layout::Norm::kNone;
  return RankResult{.sums = std::move(sums), .norms = has_norms ? NormsLine(*pass) : "\n"};
}

std::string ResultPath(const std::string& directory, size_t sum_case) {
  return absl::StrCat(directory, "/sums-", sum_case);
}

std::string NormsPath(const std::string& directory, int rank) {
  return absl::StrCat(directory, "/norms-", rank);
}

// All cases. The argument: directory, head, clip norm.
absl::Status SumOnRank(const comm::RankContext& context) {
  at::set_num_threads(1);
  const std::vector<std::string> words = absl::StrSplit(context.argument, ' ');
  const bool tied_head = words[1] == "tied";
  double clip_norm = 0;
  SOTTO_CHECK(absl::SimpleAtod(words[2], &clip_norm));
  ASSIGN_OR_RETURN(const std::unique_ptr<comm::Communicator> communicator,
                   comm::Connect({.rank = context.rank,
                                  .world_size = context.world_size,
                                  .memfd = context.memfd,
                                  .region_elements = kRegionElements}));
  const std::vector<SumCase> cases = CasesOf(context.world_size, tied_head);
  std::string norms;
  for (size_t i = 0; i < cases.size(); ++i) {
    const absl::StatusOr<RankResult> result =
        RunCase(cases[i], tied_head, clip_norm, *communicator);
    if (!result.ok()) {
      return absl::Status(result.status().code(),
                          absl::StrCat(cases[i].name, ": ", result.status().message()));
    }
    norms += result->norms;
    if (context.rank != 0) continue;
    RETURN_IF_ERROR(AtomicWriteFile(ResultPath(words[0], i), result->sums));
  }
  RETURN_IF_ERROR(AtomicWriteFile(NormsPath(words[0], context.rank), norms));
  return communicator->Barrier();
}

const comm::RankBodyRegistration kSums("sums", SumOnRank);

FlatSums ReadSums(const std::string& path, const layout::FlatLayout& layout) {
  const std::string bytes = *ReadFile(path);
  FlatSums sums;
  size_t begin = 0;
  for (const layout::UnitLayout& unit : layout.units()) {
    std::vector<float>& values = sums.emplace_back(unit.aligned_elements);
    if (values.empty()) continue;
    std::memcpy(values.data(), bytes.data() + begin, values.size() * sizeof(float));
    begin += values.size() * sizeof(float);
  }
  SOTTO_CHECK(begin == bytes.size());
  return sums;
}

// By case.
std::vector<std::vector<double>> ReadNorms(const std::string& path) {
  const std::string text = *ReadFile(path);
  const std::vector<std::string> lines = absl::StrSplit(text, '\n');
  std::vector<std::vector<double>> norms;
  for (const std::string& line : lines) {
    const std::vector<std::string> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
    std::vector<double>& values = norms.emplace_back();
    for (const std::string& word : words) {
      double value = 0;
      SOTTO_CHECK(absl::SimpleAtod(word, &value));
      values.push_back(value);
    }
  }
  norms.pop_back();  // What follows the last line's end.
  return norms;
}

}  // namespace

std::vector<SumResult> SumInWorld(int world_size, bool tied_head, double clip_norm) {
  const std::string directory = *MakeTempDir(absl::StrCat(::testing::TempDir(), "/sotto-"));
  comm::RankProcesses ranks(
      {.body = "sums",
       .world_size = world_size,
       .memfd_bytes = comm::LocalCommunicator::MemfdBytes(world_size, kRegionElements),
       .argument =
           absl::StrFormat("%s %s %.17g", directory, tied_head ? "tied" : "untied", clip_norm)});
  std::vector<SumResult> results;
  if (!ranks.AllSucceed()) return results;
  const layout::FlatLayout layout = *layout::FlatLayout::Create(SumModel(tied_head), 1);
  for (size_t i = 0; i < CasesOf(world_size, tied_head).size(); ++i) {
    results.push_back({.sums = ReadSums(ResultPath(directory, i), layout)});
  }
  for (int rank = 0; rank < world_size; ++rank) {
    const std::vector<std::vector<double>> norms = ReadNorms(NormsPath(directory, rank));
    SOTTO_CHECK(norms.size() == results.size());
    for (size_t i = 0; i < norms.size(); ++i) results[i].norms_RB.push_back(norms[i]);
  }
  return results;
}

}  // namespace sotto::equivalence
