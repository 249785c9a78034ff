#include "tools/check/mode_check.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <utility>

#include "ATen/CPUGeneratorImpl.h"
#include "ATen/Functions.h"
#include "ATen/Parallel.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/layout/flat_layout.h"
#include "common/layout/gpt2_description.h"
#include "common/layout/gradient_mode.h"
#include "worker/dp/gradient_pass.h"
#include "worker/models/model.h"

namespace sotto::check {
namespace {

using Tensors = std::vector<std::vector<at::Tensor>>;  // [unit][parameter]

constexpr int kTimedMicroBatches = 3;

struct Sample {
  layout::ModelDescription description;
  layout::FlatLayout layout;
  Tensors parameters;
  models::MicroBatch batch;
};

Tensors ZeroGradients(const layout::ModelDescription& description, at::ScalarType type) {
  Tensors tensors;
  for (const layout::UnitDescription& unit : description.units) {
    tensors.emplace_back();
    for (const layout::ParameterDescription& parameter : unit.parameters) {
      tensors.back().push_back(at::zeros(parameter.shape, type));
    }
  }
  return tensors;
}

absl::StatusOr<Sample> MakeSample(const ModelShape& shape, int examples) {
  ASSIGN_OR_RETURN(layout::ModelDescription description,
                   layout::MakeGpt2Description({.vocabulary_size = shape.vocabulary_size,
                                                .width = shape.width,
                                                .layers = shape.layers,
                                                .heads = shape.heads,
                                                .max_length = shape.tokens,
                                                .tied_head = !shape.untied_head}));
  ASSIGN_OR_RETURN(layout::FlatLayout layout, layout::FlatLayout::Create(description, 1));
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(1);
  Tensors parameters = ZeroGradients(description, at::kFloat);
  for (size_t unit = 0; unit < parameters.size(); ++unit) {
    for (size_t i = 0; i < parameters[unit].size(); ++i) {
      at::Tensor& parameter = parameters[unit][i];
      const double stddev = parameter.dim() == 1 ? 0.1 : 0.85 / std::sqrt(shape.width);
      parameter.normal_(0, stddev, generator);
      if (description.units[unit].parameters[i].init == layout::Init::kOnes) parameter.add_(1);
    }
  }
  models::MicroBatch batch{.tokens_BT = at::randint(shape.vocabulary_size, {examples, shape.tokens},
                                                    generator, at::kLong),
                           .loss_mask_BT = at::ones({examples, shape.tokens})};
  batch.loss_mask_BT.select(1, 0).zero_();
  for (int b = 0; b < examples; ++b) batch.example_ids.push_back(b);
  return Sample{std::move(description), std::move(layout), std::move(parameters), std::move(batch)};
}

// One mode's passes over micro-batches of the sample's model.
class ModeRunner {
 public:
  static absl::StatusOr<std::unique_ptr<ModeRunner>> Create(const Sample& sample,
                                                            const layout::UnitMode& mode,
                                                            double clip_norm, int max_examples) {
    ASSIGN_OR_RETURN(std::unique_ptr<models::Model> model,
                     models::Model::Create(sample.description, {}));
    ASSIGN_OR_RETURN(std::unique_ptr<dp::GradientPass> pass,
                     dp::GradientPass::Create(sample.layout, {.mode = mode,
                                                              .applied_clip_norm = clip_norm,
                                                              .loss_bound = 100,
                                                              .max_examples = max_examples}));
    return std::unique_ptr<ModeRunner>(
        new ModeRunner(sample, mode, std::move(model), std::move(pass)));
  }

  // The (clipped) gradient sum of the micro-batch.
  Tensors Run(const models::MicroBatch& batch) {
    using Verb = dp::GradientPass::Verb;
    Tensors gradients = ZeroGradients(sample_.description, at::kFloat);
    pass_->Begin(batch.example_ids);
    at::Tensor value;
    for (const auto& stage : model_->stages()) {
      value = stage->Forward(sample_.parameters[stage->unit()], batch, value);
    }
    if (mode_.norm != layout::Norm::kNone) {
      Backward(batch, Verb::kNorm, gradients);
      pass_->Clip(value);
    }
    if (mode_.kept == layout::Kept::kExampleGrads) {
      for (size_t unit = 0; unit < gradients.size(); ++unit) {
        pass_->Fold(static_cast<int>(unit), gradients[unit]);
      }
    } else {
      Backward(batch, Verb::kWeightGrad, gradients);
    }
    pass_->End(value);
    model_->Release();
    return gradients;
  }

  const at::Tensor& norm_sq_B() const { return pass_->private_norm_sq_B(); }

 private:
  ModeRunner(const Sample& sample, const layout::UnitMode& mode,
             std::unique_ptr<models::Model> model, std::unique_ptr<dp::GradientPass> pass)
      : sample_(sample), mode_(mode), model_(std::move(model)), pass_(std::move(pass)) {}

  void Backward(const models::MicroBatch& batch, dp::GradientPass::Verb verb,
                const Tensors& gradients) {
    at::Tensor grads;
    for (size_t i = model_->stages().size(); i-- > 0;) {
      models::Stage& stage = *model_->stages()[i];
      grads = stage.Backward(sample_.parameters[stage.unit()], batch, grads,
                             pass_->Sink(verb, stage.unit(), gradients[stage.unit()]));
    }
  }

  const Sample& sample_;
  const layout::UnitMode mode_;
  const std::unique_ptr<models::Model> model_;
  const std::unique_ptr<dp::GradientPass> pass_;
};

double NormSq(const Tensors& tensors) {
  double sum = 0;
  for (const auto& unit : tensors) {
    for (const at::Tensor& tensor : unit) {
      sum += tensor.to(at::kDouble).pow(2).sum().item<double>();
    }
  }
  return sum;
}

// Each example's gradient by itself, without clipping.
struct Reference {
  std::vector<Tensors> gradients;
  std::vector<double> norms;

  double MedianNorm() const {
    std::vector<double> sorted = norms;
    std::sort(sorted.begin(), sorted.end());
    return 0.5 * (sorted[(sorted.size() - 1) / 2] + sorted[sorted.size() / 2]);
  }
};

absl::StatusOr<Reference> MakeReference(const Sample& sample) {
  ASSIGN_OR_RETURN(std::unique_ptr<ModeRunner> runner,
                   ModeRunner::Create(sample, *layout::FindMode("no_dp"), 1, 1));
  Reference reference;
  for (int64_t b = 0; b < sample.batch.tokens_BT.size(0); ++b) {
    reference.gradients.push_back(
        runner->Run({.tokens_BT = sample.batch.tokens_BT.narrow(0, b, 1),
                     .loss_mask_BT = sample.batch.loss_mask_BT.narrow(0, b, 1),
                     .example_ids = {b}}));
    reference.norms.push_back(std::sqrt(NormSq(reference.gradients.back())));
  }
  return reference;
}

Tensors ReferenceSum(const Sample& sample, const Reference& reference, bool is_clipped,
                     double clip_norm) {
  Tensors sum = ZeroGradients(sample.description, at::kDouble);
  for (size_t b = 0; b < reference.norms.size(); ++b) {
    const double factor = is_clipped ? std::min(1.0, clip_norm / reference.norms[b]) : 1.0;
    for (size_t unit = 0; unit < sum.size(); ++unit) {
      for (size_t i = 0; i < sum[unit].size(); ++i) {
        sum[unit][i].add_(reference.gradients[b][unit][i], factor);
      }
    }
  }
  return sum;
}

double SumError(const Tensors& sum, const Tensors& expected) {
  const double whole = std::sqrt(NormSq(expected));
  double largest = 0;
  for (size_t unit = 0; unit < sum.size(); ++unit) {
    for (size_t i = 0; i < sum[unit].size(); ++i) {
      const at::Tensor& want = expected[unit][i];
      const double difference = sum[unit][i].to(at::kDouble).sub(want).norm().item<double>();
      largest = std::max(largest, difference / (want.norm().item<double>() + whole / 10));
    }
  }
  return largest;
}

double NormError(const at::Tensor& norm_sq_B, const std::vector<double>& expected) {
  const double longest = *std::max_element(expected.begin(), expected.end());
  double largest = 0;
  for (size_t b = 0; b < expected.size(); ++b) {
    const double norm = std::sqrt(norm_sq_B[static_cast<int64_t>(b)].item<double>());
    largest = std::max(largest, std::abs(norm - expected[b]) / (expected[b] + longest / 100));
  }
  return largest;
}

}  // namespace

absl::StatusOr<std::vector<ModeRow>> CompareModes(const ModelShape& shape, int examples) {
  if (examples < 2) {
    return absl::InvalidArgumentError(
        absl::StrCat("examples must be at least 2, but is ", examples));
  }
  at::set_num_threads(1);
  ASSIGN_OR_RETURN(const Sample sample, MakeSample(shape, examples));
  ASSIGN_OR_RETURN(const Reference reference, MakeReference(sample));
  const double clip_norm = reference.MedianNorm();
  std::vector<ModeRow> rows;
  for (const layout::NamedMode& named : layout::kGradientModes) {
    const bool is_clipped = named.mode.norm != layout::Norm::kNone;
    ASSIGN_OR_RETURN(std::unique_ptr<ModeRunner> runner,
                     ModeRunner::Create(sample, named.mode, clip_norm, examples));
    ModeRow row{.mode = std::string(named.name)};
    row.sum_error =
        SumError(runner->Run(sample.batch), ReferenceSum(sample, reference, is_clipped, clip_norm));
    if (is_clipped) row.norm_error = NormError(runner->norm_sq_B(), reference.norms);
    for (int i = 0; i < kTimedMicroBatches; ++i) {
      const auto start = std::chrono::steady_clock::now();
      runner->Run(sample.batch);
      const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
      row.tokens_per_second =
          std::max(row.tokens_per_second, examples * shape.tokens / spent.count());
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace sotto::check
