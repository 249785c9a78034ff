#include "tests/equivalence/training_run.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>

#include "ATen/Parallel.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/base/clock.h"
#include "common/base/files.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "common/crypto/sha256.h"
#include "common/dataset/token_file_writer.h"
#include "common/layout/execution_schedule.h"
#include "common/layout/memory.h"
#include "common/layout/schedule_options.h"
#include "common/layout/strategy.h"
#include "common/spec/model_layout.h"
#include "common/spec/sharding_choice.h"
#include "tests/equivalence/gathered.h"
#include "tests/equivalence/padding.h"
#include "worker/comm/connect.h"
#include "worker/comm/local_communicator.h"
#include "worker/comm/solo_communicator.h"
#include "worker/comm/testing/rank_processes.h"
#include "worker/memory/resident_memory.h"
#include "worker/memory/tensor_memory.h"
#include "worker/train/agreement.h"
#include "worker/training.h"

namespace sotto::equivalence {
namespace {

constexpr int kSlots = 2;  // gathered ones, and gradients

// Records of 2 to max_length tokens; some with unscored ones.
std::string WriteTokens(const std::string& path, const RunOptions& options) {
  auto writer = dataset::TokenFileWriter::Create(path, {.vocabulary_size = options.vocabulary_size,
                                                        .max_length = options.max_length,
                                                        .classes = options.classes});
  SOTTO_CHECK_OK(writer.status());
  uint32_t state = 12345;
  const auto next = [&state](uint32_t below) {
    state = state * 1664525 + 1013904223;
    return (state >> 16) % below;
  };
  for (int64_t record = 0; record < options.records; ++record) {
    std::vector<int32_t> tokens(2 + next(options.max_length - 1));
    std::vector<uint8_t> scored(tokens.size(), options.score_tokens ? 1 : 0);
    for (size_t t = 0; t < tokens.size(); ++t) {
      tokens[t] = static_cast<int32_t>(next(options.vocabulary_size));
      if (record % 5 == 0 && t < 3) scored[t] = 0;
    }
    const int32_t label = options.classes > 0 ? static_cast<int32_t>(record % options.classes)
                                              : dataset::TokenFileWriter::kNoLabel;
    SOTTO_CHECK_OK(writer->Add(tokens, scored, label));
  }
  auto sha256 = writer->Finish();
  SOTTO_CHECK_OK(sha256.status());
  return *sha256;
}

// Every rank's own.
absl::StatusOr<std::vector<double>> OfAllRanks(comm::Communicator& communicator, int64_t own) {
  std::vector<double> values(communicator.world_size());
  values[communicator.rank()] = static_cast<double>(own);
  RETURN_IF_ERROR(communicator.AllReduceSum(absl::MakeSpan(values)));
  return values;
}

// The largest of the ranks' own.
absl::StatusOr<int64_t> Largest(comm::Communicator& communicator, int64_t own) {
  ASSIGN_OR_RETURN(const std::vector<double> peaks, OfAllRanks(communicator, own));
  return static_cast<int64_t>(*std::max_element(peaks.begin(), peaks.end()));
}

class RecordingObserver : public train::TrainObserver {
 public:
  void OnProgress(int64_t, double) override {}
  void OnStep(const dp::NoisedMetrics& metrics, double, double) override {
    losses.push_back(metrics.raw().has_value() ? metrics.raw()->mean_loss : std::nan(""));
    batch_sizes.push_back(metrics.raw().has_value() ? metrics.raw()->sampled_batch_size
                                                    : std::nan(""));
    clip_norms.push_back(metrics.clip_norm());
  }
  void OnEvaluation(int64_t, double loss) override { evaluations.push_back(loss); }
  void OnCheckpoint(int64_t, const std::string&) override {}
  void OnCachesCleared(int64_t completed_steps, int64_t) override {
    clearings.push_back(static_cast<double>(completed_steps));
  }
  void OnNote(const std::string&) override {}

  std::vector<double> losses;
  std::vector<double> batch_sizes;
  std::vector<double> clip_norms;
  std::vector<double> evaluations;
  std::vector<double> clearings;
};

// The argument is the run's directory: it holds plan.bin and run.txt (first step, end step,
// checkpoint directory).
const comm::RankBodyRegistration kTrain(
    "train", [](const comm::RankContext& context) -> absl::Status {
      const std::string& directory = context.argument;
      ASSIGN_OR_RETURN(const std::string plan_bytes,
                       ReadFile(absl::StrCat(directory, "/plan.bin")));
      ASSIGN_OR_RETURN(const std::string run, ReadFile(absl::StrCat(directory, "/run.txt")));
      const std::vector<std::string> words = absl::StrSplit(run, '\n');
      v1::JobPlan plan;
      int64_t first_step = 0, end_step = 0;
      SOTTO_CHECK(plan.ParseFromString(plan_bytes) && absl::SimpleAtoi(words[0], &first_step) &&
                  absl::SimpleAtoi(words[1], &end_step));
      memory::CountTensors();
      at::set_num_threads(plan.sharding().threads_per_rank());
      ASSIGN_OR_RETURN(
          const std::unique_ptr<comm::Communicator> communicator,
          comm::Connect({.rank = context.rank,
                         .world_size = context.world_size,
                         .memfd = context.memfd,
                         .region_elements = comm::LocalCommunicator::RegionElements(
                             context.world_size, plan.sharding().communicator_bytes())}));
      grant::GrantGate gate({.attempt = 1, .end_step = end_step, .clock = &RealClock::Get()});
      RETURN_IF_ERROR(gate.Extend({.first_step = first_step, .end_step = end_step, .attempt = 1}));
      RecordingObserver observer;
      ASSIGN_OR_RETURN(const std::unique_ptr<Training> training,
                       Training::Create({.plan = plan,
                                         .job = "job-1",
                                         .attempt = 1,
                                         .checkpoint_directory = words[2],
                                         .end_step = end_step},
                                        Training::SecretOf(plan, ""),
                                        {.communicator = *communicator,
                                         .gate = gate,
                                         .observer = observer,
                                         .clock = RealClock::Get()}));
      RETURN_IF_ERROR(training->Run().status());
      ASSIGN_OR_RETURN(const int64_t tensor_peak,
                       Largest(*communicator, memory::TensorPeakBytes()));
      ASSIGN_OR_RETURN(const int64_t peak, Largest(*communicator, memory::PeakResidentBytes()));
      ASSIGN_OR_RETURN(const std::string bytes, GatherParameters(training->parameters()));
      RETURN_IF_ERROR(train::CheckRanksAgree(*communicator, "model", bytes));
      const std::vector<optim::StateTensor> state = training->optimizer().State();
      ASSIGN_OR_RETURN(const std::string state_bits, GatherState(training->parameters(), state));
      RETURN_IF_ERROR(train::CheckRanksAgree(*communicator, "optimizer's state", state_bits));
      RETURN_IF_ERROR(CheckPaddingIsZero(training->parameters(), state));
      const std::string clearings = absl::StrJoin(observer.clearings, " ");
      RETURN_IF_ERROR(train::CheckRanksAgree(*communicator, "clearings of caches", clearings));
      ASSIGN_OR_RETURN(const std::vector<double> state_bytes,
                       OfAllRanks(*communicator, StateBytes(state)));
      if (context.rank != 0) return communicator->Barrier();
      RETURN_IF_ERROR(AtomicWriteFile(absl::StrCat(directory, "/parameters.bin"), bytes));
      RETURN_IF_ERROR(AtomicWriteFile(absl::StrCat(directory, "/losses.txt"),
                                      absl::StrJoin(observer.losses, " ")));
      RETURN_IF_ERROR(AtomicWriteFile(absl::StrCat(directory, "/batch_sizes.txt"),
                                      absl::StrJoin(observer.batch_sizes, " ")));
      // Every digit: runs that must agree are compared exactly.
      RETURN_IF_ERROR(AtomicWriteFile(
          absl::StrCat(directory, "/clip_norms.txt"),
          absl::StrJoin(observer.clip_norms, " ", [](std::string* out, double value) {
            absl::StrAppendFormat(out, "%.17g", value);
          })));
      RETURN_IF_ERROR(AtomicWriteFile(absl::StrCat(directory, "/evaluations.txt"),
                                      absl::StrJoin(observer.evaluations, " ")));
      RETURN_IF_ERROR(AtomicWriteFile(absl::StrCat(directory, "/clearings.txt"), clearings));
      RETURN_IF_ERROR(AtomicWriteFile(absl::StrCat(directory, "/peaks.txt"),
                                      absl::StrCat(tensor_peak, " ", peak)));
      RETURN_IF_ERROR(AtomicWriteFile(absl::StrCat(directory, "/state_bytes.txt"),
                                      absl::StrJoin(state_bytes, " ")));
      return communicator->Barrier();
    });

std::vector<double> ReadNumbers(const std::string& path) {
  std::vector<double> numbers;
  for (absl::string_view word : absl::StrSplit(*ReadFile(path), ' ', absl::SkipEmpty())) {
    SOTTO_CHECK(absl::SimpleAtod(word, &numbers.emplace_back()));
  }
  return numbers;
}

layout::UnitMode ModeOf(const RunOptions& options) {
  const layout::UnitMode mode = *layout::FindMode(options.mode);
  return options.deferred_norms ? layout::WithDeferredNorms(mode) : mode;
}

void FillLayers(const layout::ModelDescription& model, const layout::LayerModes& modes,
                v1::ShardingPlan& sharding) {
  for (size_t unit = 0; unit < modes.size(); ++unit) {
    for (size_t layer = 0; layer < modes[unit].size(); ++layer) {
      v1::LayerPlan& message = *sharding.add_layers();
      message.set_unit(static_cast<int32_t>(unit));
      message.set_name(model.units[unit].layers[layer].name);
      *message.mutable_mode() = spec::ModeMessage(modes[unit][layer]);
    }
  }
}

void FillSharding(const RunOptions& options, v1::JobPlan* plan) {
  const layout::Strategy strategy = *layout::FindStrategy(options.strategy);
  const layout::RankGrid grid =
      *layout::MakeRankGrid(strategy, options.world_size, options.shard_group_size);
  const layout::ModelDescription model = *spec::DescribeModel(plan->spec().model());
  const layout::FlatLayout layout = *layout::FlatLayout::Create(model, grid.shards);
  v1::ShardingPlan& sharding = *plan->mutable_sharding();
  sharding.set_world_size(options.world_size);
  v1::Strategy message = v1::STRATEGY_UNSPECIFIED;
  SOTTO_CHECK(v1::Strategy_Parse(options.strategy, &message));
  sharding.set_strategy(message);
  sharding.set_shard_group_size(grid.shards);
  sharding.set_replicas(grid.replicas);
  sharding.set_threads_per_rank(options.threads_per_rank);
  sharding.set_gathered_slots(kSlots);
  sharding.set_gradient_slots(kSlots);
  for (int unit = 0; unit < layout.num_units(); ++unit) {
    v1::UnitPlan& message = *sharding.add_units();
    message.set_name(model.units[unit].name);
    message.set_elements(layout.unit(unit).elements);
    message.set_padded_elements(layout.unit(unit).padded_elements);
  }
  layout::LayerModes layer_modes;
  if (options.layer_modes) {
    layer_modes = options.layer_modes(model);
    plan->mutable_spec()->mutable_gradient()->set_mode("auto");
    FillLayers(model, layer_modes, sharding);
  }
  const layout::UnitMode mode = ModeOf(options);
  *sharding.mutable_mode() = spec::ModeMessage(mode);
  sharding.set_mode_name(options.mode);
  sharding.set_communicator_bytes(layout::CommunicatorBytes(layout, options.world_size));
  const layout::ScheduleOptions schedule =
      layout::MakeScheduleOptions(model, {.mode = mode,
                                          .layer_modes = std::move(layer_modes),
                                          .strategy = strategy,
                                          .gathered_slots = kSlots,
                                          .gradient_slots = kSlots});
  sharding.set_schedule_hash(crypto::HexSha256(*layout::CanonicalScheduleText(schedule)));
}

void FillTraining(const RunOptions& options, v1::JobPlan* plan) {
  v1::TrainPlan& train = *plan->mutable_train();
  train.set_expected_batch_size(options.sampling_rate * static_cast<double>(options.records));
  train.set_steps(10);
  train.set_micro_batch_size(options.micro_batch_size);
  for (int32_t third : {1, 2, 3}) train.add_lengths(third * options.max_length / 3);
  train.set_checkpoint_keep(3);
  v1::PrivacyPlan& privacy = *plan->mutable_privacy();
  privacy.set_not_private(true);
  privacy.set_sampling_rate(options.sampling_rate);
  privacy.set_batch_cap(options.records);
  privacy.set_adjacency("add_or_remove_one");
  privacy.set_sensitivity_factor(1);
  privacy.mutable_sampler()->set_kind(v1::SamplerPlan::POISSON);
  privacy.mutable_clipping()->set_rule(v1::ClippingPlan::FLAT);
  privacy.add_segments()->set_gradient_noise_multiplier(options.noise_multiplier);
  privacy.set_clip_norm(options.clip_norm);
  privacy.set_clip_norm_applied(options.clip_norm * (1 - std::exp2(-14)));
  privacy.set_clip_margin(std::exp2(-14));
  privacy.set_max_loss(2 * std::log(options.vocabulary_size));
}

}  // namespace

v1::JobPlan MakePlan(const std::string& directory, const RunOptions& options) {
  v1::JobPlan plan;
  plan.set_protocol_version(1);
  v1::Gpt2Spec& gpt2 = *plan.mutable_spec()->mutable_model()->mutable_gpt2();
  gpt2.set_vocabulary_size(options.vocabulary_size);
  gpt2.set_width(options.width);
  gpt2.set_layers(options.layers);
  gpt2.set_heads(options.heads);
  gpt2.set_max_length(options.max_length);
  gpt2.set_untied_head(!options.tied_head);
  gpt2.set_init_stddev(0.1);
  for (const std::string& pattern : options.frozen) {
    plan.mutable_spec()->mutable_model()->mutable_adaptation()->add_frozen(pattern);
  }
  if (options.choose_model) options.choose_model(*plan.mutable_spec()->mutable_model());
  plan.mutable_spec()->mutable_model()->set_init_seed(7);
  plan.mutable_spec()->mutable_privacy()->set_seed(options.seed);
  plan.mutable_spec()->mutable_train()->mutable_learning_rate()->set_peak(1e-3);
  v1::AdamwSpec& adamw =
      *plan.mutable_spec()->mutable_train()->mutable_optimizer()->mutable_adamw();
  adamw.set_weight_decay(0.1);
  adamw.set_epsilon(options.adam_epsilon);
  if (options.sgd_learning_rate > 0) {
    plan.mutable_spec()->mutable_train()->mutable_optimizer()->mutable_sgd();
    plan.mutable_spec()->mutable_train()->mutable_learning_rate()->set_peak(
        options.sgd_learning_rate);
  }
  v1::DatasetFacts& dataset = *plan.mutable_dataset();
  dataset.set_path(absl::StrCat(directory, "/tokens.bin"));
  dataset.set_sha256(WriteTokens(dataset.path(), options));
  dataset.set_max_records(options.records);
  dataset.set_vocabulary_size(options.vocabulary_size);
  dataset.set_max_length(options.max_length);
  dataset.set_classes(options.classes);
  FillTraining(options, &plan);
  FillSharding(options, &plan);
  if (options.adjust) options.adjust(plan);
  return plan;
}

void PlaceAgain(v1::JobPlan& plan) {
  v1::ShardingPlan& sharding = *plan.mutable_sharding();
  const layout::ModelDescription model = *spec::DescribeModel(plan.spec().model());
  const layout::WrappedModel wrapped = *spec::WrapModel(model, plan.spec().workers().wrapping());
  const layout::FlatLayout layout =
      *layout::FlatLayout::Create(wrapped.units, sharding.shard_group_size());
  sharding.clear_units();
  for (int unit = 0; unit < layout.num_units(); ++unit) {
    v1::UnitPlan& message = *sharding.add_units();
    message.set_name(wrapped.units.units[unit].name);
    message.set_elements(layout.unit(unit).elements);
    message.set_padded_elements(layout.unit(unit).padded_elements);
  }
  sharding.set_communicator_bytes(layout::CommunicatorBytes(layout, sharding.world_size()));
  const layout::ScheduleOptions schedule =
      layout::MakeScheduleOptions(model, *spec::ScheduleChoiceOf(plan, model, wrapped));
  sharding.set_schedule_hash(crypto::HexSha256(*layout::CanonicalScheduleText(schedule)));
}

absl::StatusOr<int64_t> TensorPeakOf(const v1::JobPlan& plan, int64_t end_step) {
  memory::CountTensors();
  const int64_t before = memory::TensorLiveBytes();
  memory::ResetTensorPeak();
  at::set_num_threads(plan.sharding().threads_per_rank());
  comm::SoloCommunicator communicator;
  grant::GrantGate gate({.attempt = 1, .end_step = end_step, .clock = &RealClock::Get()});
  RETURN_IF_ERROR(gate.Extend({.first_step = 0, .end_step = end_step, .attempt = 1}));
  RecordingObserver observer;
  ASSIGN_OR_RETURN(
      const std::unique_ptr<Training> training,
      Training::Create({.plan = plan, .job = "job-1", .attempt = 1, .end_step = end_step},
                       Training::SecretOf(plan, ""),
                       {.communicator = communicator,
                        .gate = gate,
                        .observer = observer,
                        .clock = RealClock::Get()}));
  RETURN_IF_ERROR(training->Run().status());
  return memory::TensorPeakBytes() - before;
}

RunResult Train(const std::string& directory, const RunOptions& options) {
  const v1::JobPlan plan = MakePlan(directory, options);
  SOTTO_CHECK_OK(AtomicWriteFile(absl::StrCat(directory, "/plan.bin"), plan.SerializeAsString()));
  SOTTO_CHECK_OK(AtomicWriteFile(absl::StrCat(directory, "/run.txt"),
                                 absl::StrCat(options.first_step, "\n", options.end_step, "\n",
                                              options.checkpoint_directory)));
  comm::RankProcesses ranks({.body = "train",
                             .world_size = options.world_size,
                             .memfd_bytes = plan.sharding().communicator_bytes(),
                             .argument = directory});
  RunResult result{.succeeded = ranks.AllSucceed()};
  if (!result.succeeded) return result;
  const std::string bytes = *ReadFile(absl::StrCat(directory, "/parameters.bin"));
  result.parameters.resize(bytes.size() / sizeof(float));
  std::memcpy(result.parameters.data(), bytes.data(), bytes.size());
  result.losses = ReadNumbers(absl::StrCat(directory, "/losses.txt"));
  result.batch_sizes = ReadNumbers(absl::StrCat(directory, "/batch_sizes.txt"));
  result.clip_norms = ReadNumbers(absl::StrCat(directory, "/clip_norms.txt"));
  result.evaluations = ReadNumbers(absl::StrCat(directory, "/evaluations.txt"));
  result.clearings = ReadNumbers(absl::StrCat(directory, "/clearings.txt"));
  result.state_bytes = ReadNumbers(absl::StrCat(directory, "/state_bytes.txt"));
  const std::vector<double> peaks = ReadNumbers(absl::StrCat(directory, "/peaks.txt"));
  result.tensor_peak_bytes = static_cast<int64_t>(peaks[0]);
  result.resident_peak_bytes = static_cast<int64_t>(peaks[1]);
  return result;
}

}  // namespace sotto::equivalence
