#include "tools/check/oracle.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <utility>

#include "ATen/Functions.h"
#include "ATen/Parallel.h"
#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "common/base/status_macros.h"
#include "common/crypto/secret.h"
#include "common/layout/flat_layout.h"
#include "common/layout/init_values.h"
#include "common/spec/model_layout.h"
#include "tools/check/reference_gradient.h"
#include "tools/check/step_noise.h"
#include "tools/check/training_rank.h"
#include "worker/grant/grant_gate.h"
#include "worker/plan_privacy.h"

namespace sotto::check {
namespace {

double NormSq(const equivalence::UnitTensors& tensors) {
  double sum = 0;
  for (const auto& unit : tensors) {
    for (const at::Tensor& tensor : unit) sum += tensor.square().sum().item<double>();
  }
  return sum;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Oracle>> Oracle::Create(const v1::JobPlan& plan) {
  at::set_num_threads(1);  // One example at a time is little work, and threads wait for each other.
  ASSIGN_OR_RETURN(layout::ModelDescription description, spec::DescribeModel(plan.spec().model()));
  RETURN_IF_ERROR(CheckHasReference(description));
  ASSIGN_OR_RETURN(std::unique_ptr<dataset::TokenFile> file,
                   dataset::TokenFile::Open(plan.dataset().path()));
  std::unique_ptr<Oracle> oracle(new Oracle(plan, std::move(description), std::move(file)));
  oracle->Initialize();
  return oracle;
}

Oracle::Oracle(v1::JobPlan plan, layout::ModelDescription description,
               std::unique_ptr<dataset::TokenFile> file)
    : plan_(std::move(plan)), description_(std::move(description)), file_(std::move(file)) {}

void Oracle::Initialize() {
  int64_t index = 0;  // canonical
  for (const layout::UnitDescription& unit : description_.units) {
    parameters_.emplace_back();
    sum_.emplace_back();
    for (const layout::ParameterDescription& parameter : unit.parameters) {
      const at::Tensor values = at::empty(parameter.shape, at::kFloat);
      layout::FillInitialValues(
          parameter, plan_.spec().model().init_seed(), index++, 0,
          absl::MakeSpan(values.data_ptr<float>(), static_cast<size_t>(values.numel())));
      parameters_.back().push_back(values.to(at::kDouble));
      sum_.back().push_back(at::zeros(parameter.shape, at::kDouble));
    }
  }
}

equivalence::ExampleGradient Oracle::Gradient(int64_t record) const {
  const int64_t length = file_->Length(record);
  const at::Tensor tokens = at::empty({length}, at::kLong);
  const at::Tensor scored = at::empty({length}, at::kFloat);
  file_->Read(record, absl::MakeSpan(tokens.data_ptr<int64_t>(), static_cast<size_t>(length)),
              absl::MakeSpan(scored.data_ptr<float>(), static_cast<size_t>(length)));
  const int64_t label = file_->header().classes > 0 ? file_->Label(record) : -1;
  const bool mean = plan_.spec().train().loss_reduction() != v1::LOSS_REDUCTION_SUM;
  return ReferenceGradient(
      description_, parameters_,
      {.tokens_T = tokens, .loss_mask_T = scored, .is_mean = mean, .label = label});
}

double Oracle::MedianGradientNorm() const {
  std::vector<double> norms;
  for (int64_t record = 0; record < file_->num_records(); ++record) {
    norms.push_back(Gradient(record).norm);
  }
  std::sort(norms.begin(), norms.end());
  return 0.5 * (norms[(norms.size() - 1) / 2] + norms[norms.size() / 2]);
}

absl::StatusOr<RecordedRun> Oracle::Train(bool clips, const std::string& snapshots) {
  const int64_t steps = plan_.train().steps();
  // Which records a step draws is the job's to say; its grants come from a gate of our own.
  ASSIGN_OR_RETURN(const std::unique_ptr<dp::Sampler> sampler,
                   MakeSampler(plan_, kJobName, file_->num_records(),
                               crypto::Secret::FromPublicSeed(plan_.spec().privacy().seed())));
  grant::GrantGate gate({.attempt = 1, .end_step = steps, .clock = &RealClock::Get()});
  RETURN_IF_ERROR(gate.Extend({.first_step = 0, .end_step = steps, .attempt = 1}));
  RecordedRun run;
  for (int64_t step = 0; step < steps; ++step) {
    const absl::Time begin = RealClock::Get().Now();
    ASSIGN_OR_RETURN(const grant::StepGrant grant, gate.Authorize(step));
    run.steps.push_back(SumBatch(sampler->Sample(grant).ids, clips));
    RETURN_IF_ERROR(Update(step));
    RecordedStep& recorded = run.steps.back();
    recorded.parameter_norm = std::sqrt(NormSq(parameters_));
    recorded.seconds = absl::ToDoubleSeconds(RealClock::Get().Now() - begin);
    if (step == 0) run.layers = MeasureLayers();
    if (!snapshots.empty()) RETURN_IF_ERROR(AppendSnapshot(snapshots));
  }
  const std::vector<RecordedLayer> last = MeasureLayers();
  for (size_t i = 0; i < last.size(); ++i) {
    run.layers[i].last_weight_norm = last[i].first_weight_norm;
    run.layers[i].last_gradient_norm = last[i].first_gradient_norm;
  }
  return run;
}

RecordedStep Oracle::SumBatch(const std::vector<int64_t>& batch, bool clips) {
  for (auto& unit : sum_) {
    for (at::Tensor& tensor : unit) tensor.zero_();
  }
  RecordedStep step{.batch_size = static_cast<int64_t>(batch.size())};
  for (const int64_t record : batch) {
    const equivalence::ExampleGradient example = Gradient(record);
    const double bound =
        clips ? plan_.privacy().clip_norm_applied() : std::numeric_limits<double>::infinity();
    const double factor = example.norm <= bound ? 1 : bound / example.norm;
    step.loss += example.loss / static_cast<double>(batch.size());
    step.clip_fraction += (factor < 1 ? 1.0 : 0.0) / static_cast<double>(batch.size());
    for (size_t unit = 0; unit < sum_.size(); ++unit) {
      for (size_t i = 0; i < sum_[unit].size(); ++i) {
        sum_[unit][i].add_(example.gradients[unit][i], factor);
      }
    }
  }
  step.gradient_norm = std::sqrt(NormSq(sum_)) / plan_.train().expected_batch_size();
  return step;
}

absl::Status Oracle::Update(int64_t step) {
  ASSIGN_OR_RETURN(const layout::FlatLayout layout, layout::FlatLayout::Create(description_, 1));
  const double rate =
      plan_.spec().train().learning_rate().peak() / plan_.train().expected_batch_size();
  for (size_t unit = 0; unit < parameters_.size(); ++unit) {
    const layout::UnitLayout& own = layout.unit(static_cast<int>(unit));
    for (size_t i = 0; i < parameters_[unit].size(); ++i) {
      at::Tensor& parameter = parameters_[unit][i];
      const layout::ParameterLayout& place = own.parameters[i];
      if (!place.trainable) continue;
      std::vector<float> noise =
          StepNoise(plan_, step, own.canonical_base + place.offset, place.elements);
      parameter.sub_(sum_[unit][i], rate);
      parameter.sub_(at::from_blob(noise.data(), parameter.sizes(), at::kFloat).to(at::kDouble),
                     rate);
    }
  }
  return absl::OkStatus();
}

std::vector<RecordedLayer> Oracle::MeasureLayers() const {
  std::vector<RecordedLayer> layers;
  for (size_t unit = 0; unit < parameters_.size(); ++unit) {
    for (size_t i = 0; i < parameters_[unit].size(); ++i) {
      if (parameters_[unit][i].dim() < 2) continue;
      RecordedLayer layer{.name = description_.units[unit].parameters[i].name};
      layer.first_weight_norm = parameters_[unit][i].norm().item<double>();
      layer.first_gradient_norm =
          sum_[unit][i].norm().item<double>() / plan_.train().expected_batch_size();
      layers.push_back(std::move(layer));
    }
  }
  return layers;
}

absl::Status Oracle::AppendSnapshot(const std::string& path) const {
  std::ofstream file(path, std::ios::binary | std::ios::app);
  for (const auto& unit : parameters_) {
    for (const at::Tensor& tensor : unit) {
      const at::Tensor values = tensor.to(at::kFloat).contiguous();
      file.write(static_cast<const char*>(values.const_data_ptr()),
                 static_cast<int64_t>(values.nbytes()));
    }
  }
  file.close();
  if (file) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("cannot write ", path));
}

}  // namespace sotto::check
