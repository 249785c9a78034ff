#include "tools/check/step_recorder.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/layout/execution_schedule.h"
#include "tools/check/step_noise.h"
#include "worker/memory/resident_memory.h"
#include "worker/memory/tensor_memory.h"

namespace sotto::check {
namespace {

double Norm(const float* values, int64_t count) {
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += static_cast<double>(values[i]) * values[i];
  return std::sqrt(sum);
}

double Distance(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double difference = static_cast<double>(a[i]) - b[i];
    sum += difference * difference;
  }
  return std::sqrt(sum);
}

// Every parameter of the model as the shards now hold it: by unit, then by parameter.
absl::StatusOr<std::vector<std::vector<std::vector<float>>>> GatherAll(
    fsdp::ShardedParameters& parameters) {
  std::vector<std::vector<std::vector<float>>> model;
  for (int unit = 0; unit < parameters.layout().num_units(); ++unit) {
    const int slot = unit == 0 ? layout::kRootSlot : 1;
    RETURN_IF_ERROR(parameters.Gather(unit, slot));
    model.emplace_back();
    for (const at::Tensor& view : parameters.ParameterViews(unit, slot)) {
      const float* values = view.const_data_ptr<float>();
      model.back().emplace_back(values, values + view.numel());
    }
  }
  return model;
}

// Of what this rank owns; padding must stay zero.
int64_t CountNonzeroPadding(const fsdp::ShardedParameters& parameters) {
  int64_t count = 0;
  for (int unit = 0; unit < parameters.layout().num_units(); ++unit) {
    const at::Tensor& shard = parameters.MasterShard(unit);
    const float* values = shard.const_data_ptr<float>();
    int64_t next = 0;
    const auto count_up_to = [&](int64_t end) {
      count += std::count_if(values + next, values + end, [](float value) { return value != 0; });
    };
    for (const layout::Interval& used :
         parameters.layout().UsedIntervals(unit, parameters.shard_rank())) {
      count_up_to(used.begin);
      next = used.end;
    }
    count_up_to(shard.numel());
  }
  return count;
}

}  // namespace

StepRecorder::StepRecorder(const RunRequest& request, Clock& clock)
    : request_(request), plan_(request.plan), snapshots_(request.snapshots), clock_(clock) {}

void StepRecorder::Observe(fsdp::ShardedParameters& parameters,
                           const train::PhaseProfile& profile) {
  parameters_ = &parameters;
  profile_ = &profile;
  totals_.assign(profile.totals().begin(), profile.totals().end());
  begin_ = clock_.Now();
}

std::vector<RecordedPhase> StepRecorder::PhasesOfStep() {
  std::vector<RecordedPhase> phases;
  for (size_t i = 0; i < totals_.size(); ++i) {
    const train::PhaseProfile::Total& total = profile_->totals()[i];
    phases.push_back(
        {.name = std::string(total.name),
         .seconds = 1e-9 * static_cast<double>(total.nanoseconds - totals_[i].nanoseconds),
         .count = total.count - totals_[i].count,
         .tensor_peak_bytes = total.peak_bytes});
  }
  totals_.assign(profile_->totals().begin(), profile_->totals().end());
  return phases;
}

void StepRecorder::OnStep(const dp::NoisedMetrics& metrics, double, double) {
  if (!status_.ok()) return;
  status_ = Record(metrics);
  begin_ = clock_.Now();  // What recording took is not the next step's.
}

absl::Status StepRecorder::Record(const dp::NoisedMetrics& metrics) {
  if (!metrics.raw().has_value()) {
    return absl::FailedPreconditionError("only jobs that promise nothing can be recorded");
  }
  RecordedStep step{.loss = metrics.raw()->mean_loss,
                    .gradient_norm = metrics.raw()->gradient_norm,
                    .clip_fraction = metrics.raw()->clip_fraction,
                    .batch_size = metrics.raw()->sampled_batch_size,
                    .seconds = absl::ToDoubleSeconds(clock_.Now() - begin_),
                    .phases = PhasesOfStep()};
  const int64_t index = static_cast<int64_t>(run_.steps.size());
  run_.steps.push_back(step);
  if (!request_.measures_parameters) return absl::OkStatus();
  RETURN_IF_ERROR(MeasureParameters(run_.steps.back()));
  if (index != 0 && index + 1 != plan_.train().steps()) return absl::OkStatus();
  return MeasureLayers(index);
}

absl::Status StepRecorder::MeasureParameters(RecordedStep& step) {
  ASSIGN_OR_RETURN(const auto model, GatherAll(*parameters_));
  if (parameters_->communicator().rank() != 0) return absl::OkStatus();
  std::vector<float> values;
  for (const auto& unit : model) {
    for (const auto& parameter : unit) {
      values.insert(values.end(), parameter.begin(), parameter.end());
    }
  }
  step.parameter_norm = Norm(values.data(), static_cast<int64_t>(values.size()));
  if (!snapshots_.compare_with.empty()) {
    std::vector<float> reference(values.size());
    std::ifstream file(snapshots_.compare_with, std::ios::binary);
    const int64_t bytes = static_cast<int64_t>(reference.size() * sizeof(float));
    file.seekg(static_cast<int64_t>(run_.steps.size() - 1) * bytes);
    file.read(reinterpret_cast<char*>(reference.data()), bytes);
    if (!file) return absl::DataLossError("the reference run's parameters cannot be read");
    step.parameter_distance = Distance(values, reference);
  }
  const bool is_last = static_cast<int64_t>(run_.steps.size()) == plan_.train().steps();
  if (snapshots_.write_to.empty() || (snapshots_.last_only && !is_last)) return absl::OkStatus();
  std::ofstream file(snapshots_.write_to, std::ios::binary | std::ios::app);
  file.write(reinterpret_cast<const char*>(values.data()),
             static_cast<int64_t>(values.size() * sizeof(float)));
  file.close();
  if (file) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("cannot write ", snapshots_.write_to));
}

absl::Status StepRecorder::MeasureLayers(int64_t step) {
  ASSIGN_OR_RETURN(const std::vector<std::vector<double>> gradient_norms, GradientNorms(step));
  ASSIGN_OR_RETURN(const auto model, GatherAll(*parameters_));
  const std::vector<layout::UnitDescription>& units = parameters_->model().units;
  size_t next = 0;
  for (size_t unit = 0; unit < units.size(); ++unit) {
    for (size_t i = 0; i < units[unit].parameters.size(); ++i) {
      if (units[unit].parameters[i].shape.size() < 2) continue;
      const std::vector<float>& values = model[unit][i];
      const double norm = Norm(values.data(), static_cast<int64_t>(values.size()));
      if (step == 0) {
        run_.layers.push_back({.name = units[unit].parameters[i].name,
                               .first_weight_norm = norm,
                               .first_gradient_norm = gradient_norms[unit][i]});
      }
      RecordedLayer& layer = run_.layers[next++];
      layer.last_weight_norm = norm;
      layer.last_gradient_norm = gradient_norms[unit][i];
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::vector<double>>> StepRecorder::GradientNorms(int64_t step) {
  const layout::FlatLayout& layout = parameters_->layout();
  comm::Communicator& communicator = parameters_->communicator();
  std::vector<double> norm_sq;  // canonical order
  for (int unit = 0; unit < layout.num_units(); ++unit) {
    const layout::UnitLayout& own = layout.unit(unit);
    const layout::Interval shard = layout.Shard(unit, parameters_->shard_rank());
    const float* values = parameters_->GradientShard(unit).const_data_ptr<float>();
    const std::vector<float> noise =
        StepNoise(plan_, step, own.canonical_base + shard.begin, shard.size());
    for (const layout::ParameterLayout& parameter : own.parameters) {
      double sum = 0;
      const int64_t end = std::min(shard.end, parameter.interval().end);
      for (int64_t i = std::max(shard.begin, parameter.offset); i < end; ++i) {
        const double value = static_cast<double>(values[i - shard.begin]) - noise[i - shard.begin];
        sum += value * value;
      }
      norm_sq.push_back(sum);
    }
  }
  RETURN_IF_ERROR(communicator.AllReduceSum(absl::MakeSpan(norm_sq)));
  const int replicas = communicator.world_size() / layout.world_size();
  const double batch = plan_.train().expected_batch_size();
  std::vector<std::vector<double>> norms;
  size_t next = 0;
  for (int unit = 0; unit < layout.num_units(); ++unit) {
    norms.emplace_back();
    for (size_t i = 0; i < layout.unit(unit).parameters.size(); ++i) {
      norms.back().push_back(std::sqrt(norm_sq[next++] / replicas) / batch);
    }
  }
  return norms;
}

absl::StatusOr<RecordedRun> StepRecorder::Finish() {
  RETURN_IF_ERROR(status_);
  comm::Communicator& communicator = parameters_->communicator();
  const int ranks = communicator.world_size();
  // By rank: resident peaks, tensors' peaks, tensors; then the padding of all.
  std::vector<double> values(3 * ranks + 1);
  values[communicator.rank()] = static_cast<double>(memory::PeakResidentBytes());
  values[ranks + communicator.rank()] = static_cast<double>(memory::TensorPeakBytes());
  values[2 * ranks + communicator.rank()] = static_cast<double>(memory::TensorLiveBytes());
  values.back() = static_cast<double>(CountNonzeroPadding(*parameters_));
  RETURN_IF_ERROR(communicator.AllReduceSum(absl::MakeSpan(values)));
  const auto largest = [&](int part) {
    const auto begin = values.begin() + part * ranks;
    return static_cast<int64_t>(*std::max_element(begin, begin + ranks));
  };
  run_.peak_bytes = largest(0);
  run_.tensor_peak_bytes = largest(1);
  run_.tensor_held_bytes = largest(2);
  run_.nonzero_padding = static_cast<int64_t>(values.back());
  return std::move(run_);
}

}  // namespace sotto::check
