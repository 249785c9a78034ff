#include "tests/equivalence/world_sums.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <utility>

#include "ATen/Functions.h"
#include "ATen/Parallel.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "common/base/clock.h"
#include "common/base/files.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "common/layout/init_values.h"
#include "common/layout/schedule_options.h"
#include "gtest/gtest.h"
#include "tests/equivalence/autograd_all_layers.h"
#include "tests/equivalence/mode_run.h"
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

constexpr uint64_t kSeed = 5;
constexpr int kSlots = 2;
constexpr int64_t kRegionElements = 32 * 24 * 8;  // Divisible by 32 W for every W tested.

models::AllLayersOptions ModelOptions(bool tied_head) {
  return {.vocabulary_size = 29, .max_length = 12, .tied_head = tied_head};
}

// Examples of up to T tokens; `unscored` of them, if any, scores nothing.
models::MicroBatch MakeBatch(int64_t examples, int64_t tokens, int64_t first_id, int64_t unscored) {
  models::MicroBatch batch{.tokens_BT = at::empty({examples, tokens}, at::kLong),
                           .loss_mask_BT = at::ones({examples, tokens})};
  int64_t* token = batch.tokens_BT.data_ptr<int64_t>();
  for (int64_t i = 0; i < examples * tokens; ++i) token[i] = (i * i * 7 + first_id * 5 + i) % 29;
  batch.loss_mask_BT.select(1, 0).zero_();
  for (int64_t b = 0; b < examples; ++b) {
    const int64_t length = tokens - (first_id + b) % 3;
    batch.loss_mask_BT[b].narrow(0, length, tokens - length).zero_();
    if (b == unscored) batch.loss_mask_BT[b].zero_();
    batch.example_ids.push_back(first_id + b);
  }
  return batch;
}

models::MicroBatch Dummy() {
  return {.tokens_BT = at::zeros({2, 5}, at::kLong),
          .loss_mask_BT = at::zeros({2, 5}),
          .example_ids = {-1, -1}};
}

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

// Of every rank, dummies included.
int MicroBatchesPerRank(int world_size) {
  const int batches = static_cast<int>(SumMicroBatches().size());
  return (batches + world_size - 1) / world_size;
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
  parameters->Initialize(kSeed);
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

  const std::vector<models::MicroBatch> batches = SumMicroBatches();
  const int world_size = communicator.world_size();
  const int count = MicroBatchesPerRank(world_size);
  const auto load = [&](int i) {
    const size_t j = static_cast<size_t>(i * world_size + communicator.rank());
    return j < batches.size() ? batches[j] : Dummy();
  };
  RETURN_IF_ERROR(executor.SumGradients(count, load).status());
  RETURN_IF_ERROR(CheckProfile(profile, schedule, count, layout));

  std::string bytes;
  for (int unit = 0; unit < layout.num_units(); ++unit) {
    const at::Tensor& shard = parameters->GradientShard(unit);
    std::vector<float> whole(layout.unit(unit).padded_elements);
    RETURN_IF_ERROR(communicator.AllGather(
        parameters->shard_group(),
        absl::MakeConstSpan(shard.data_ptr<float>(), static_cast<size_t>(shard.numel())),
        absl::MakeSpan(whole)));
    bytes.append(reinterpret_cast<const char*>(whole.data()),
                 layout.unit(unit).aligned_elements * sizeof(float));
  }
  // Every replica has the same bits.
  RETURN_IF_ERROR(train::CheckRanksAgree(communicator, "sum", bytes));
  const bool has_norms = sum_case.mode.norm != layout::Norm::kNone;
  return RankResult{.sums = std::move(bytes), .norms = has_norms ? NormsLine(*pass) : "\n"};
}

std::string ResultPath(const std::string& directory, size_t sum_case) {
  return absl::StrCat(directory, "/sums-", sum_case);
}

std::string NormsPath(const std::string& directory, int rank) {
  return absl::StrCat(directory, "/norms-", rank);
}

// The argument: directory, head, clip norm.
const comm::RankBodyRegistration kSums(
    "sums", [](const comm::RankContext& context) -> absl::Status {
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
    });

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

std::vector<SumCase> CasesOf(int world_size, bool tied_head) {
  const layout::UnitMode books = *layout::FindMode("flash_bk");
  const layout::UnitMode held = *layout::FindMode("per_example");
  const layout::ModelDescription model = SumModel(tied_head);
  std::vector<SumCase> cases;
  for (const layout::NamedStrategy& strategy : layout::kStrategies) {
    const std::optional<layout::RankGrid> grid =
        layout::MakeRankGrid(strategy.strategy, world_size, world_size / 2);
    if (!grid.has_value()) continue;
    for (const layout::NamedMode& mode : layout::kGradientModes) {
      const std::string name = absl::StrCat(strategy.name, " ", mode.name);
      cases.push_back({name, strategy.strategy, mode.mode, {}, grid->shards});
      if (mode.mode.norm == layout::Norm::kNone) continue;
      cases.push_back({absl::StrCat(name, " deferred"),
                       strategy.strategy,
                       layout::WithDeferredNorms(mode.mode),
                       {},
                       grid->shards});
    }
    for (const size_t shift : {0, 1}) {
      cases.push_back({absl::StrCat(strategy.name, " auto ", shift), strategy.strategy, held,
                       MixedModes(model, {books, held}, shift), grid->shards});
    }
  }
  return cases;
}

layout::ModelDescription SumModel(bool tied_head) {
  layout::ModelDescription model = models::DescribeAllLayers(ModelOptions(tied_head));
  for (layout::UnitDescription& unit : model.units) {
    for (layout::ParameterDescription& parameter : unit.parameters) {
      // Wide enough that every gradient counts.
      const int64_t fan_in = parameter.num_elements() / parameter.shape.front();
      parameter.init = layout::Init::kNormal;
      parameter.init_stddev = 0.7 / std::sqrt(static_cast<double>(fan_in));
    }
  }
  return model;
}

UnitTensors SumParameters(const layout::ModelDescription& model) {
  UnitTensors parameters;
  int64_t index = 0;
  for (const layout::UnitDescription& unit : model.units) {
    std::vector<at::Tensor>& tensors = parameters.emplace_back();
    for (const layout::ParameterDescription& parameter : unit.parameters) {
      at::Tensor& tensor = tensors.emplace_back(at::empty(parameter.shape));
      layout::FillInitialValues(
          parameter, kSeed, index++, 0,
          absl::MakeSpan(tensor.data_ptr<float>(), static_cast<size_t>(tensor.numel())));
    }
  }
  return parameters;
}

std::vector<models::MicroBatch> SumMicroBatches() {
  return {MakeBatch(3, 8, 0, -1), MakeBatch(4, 8, 3, 1), MakeBatch(1, 12, 7, -1),
          MakeBatch(4, 12, 8, -1), MakeBatch(2, 5, 12, -1)};
}

std::vector<ExampleGradient> OracleGradients(const layout::ModelDescription& model) {
  const UnitTensors parameters = SumParameters(model);
  std::vector<ExampleGradient> examples;
  for (const models::MicroBatch& batch : SumMicroBatches()) {
    for (int64_t b = 0; b < batch.tokens_BT.size(0); ++b) {
      examples.push_back(AutogradAllLayers(model, parameters, batch.tokens_BT[b],
                                           batch.loss_mask_BT[b], /*mean_loss=*/true));
    }
  }
  return examples;
}

std::vector<double> LastNorms(const std::vector<ExampleGradient>& examples, int world_size,
                              int rank) {
  const std::vector<models::MicroBatch> batches = SumMicroBatches();
  const auto last = static_cast<size_t>((MicroBatchesPerRank(world_size) - 1) * world_size + rank);
  if (last >= batches.size()) return std::vector<double>(Dummy().example_ids.size());
  size_t begin = 0;
  for (size_t i = 0; i < last; ++i) begin += batches[i].example_ids.size();
  std::vector<double> norms;
  for (size_t b = 0; b < batches[last].example_ids.size(); ++b) {
    norms.push_back(examples[begin + b].norm);
  }
  return norms;
}

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
