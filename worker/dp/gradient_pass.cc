#include "worker/dp/gradient_pass.h"

#include <cmath>

#include "ATen/ops/zeros.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/base/log.h"
#include "worker/dp/gradient_sinks.h"
#include "worker/dp/held_gradients.h"
#include "worker/dp/statistics_reader.h"

namespace sotto::dp {

absl::StatusOr<std::unique_ptr<GradientPass>> GradientPass::Create(const layout::FlatLayout& layout,
                                                                   const Options& options) {
  if (options.mode.norm != layout::Norm::kNone &&
      !(std::isfinite(options.applied_clip_norm) && options.applied_clip_norm > 0)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "applied_clip_norm must be finite and positive, but is ", options.applied_clip_norm));
  }
  if (options.max_examples < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("max_examples must be at least 1, but is ", options.max_examples));
  }
  if (options.mode.kept == layout::Kept::kOutputGrads) {
    return absl::UnimplementedError("book-keeping modes do not exist yet");
  }
  return std::unique_ptr<GradientPass>(new GradientPass(layout, options));
}

GradientPass::GradientPass(const layout::FlatLayout& layout, const Options& options)
    : options_(options), held_(std::make_unique<HeldGradients>(layout, options.max_examples)) {}

GradientPass::~GradientPass() = default;

void GradientPass::Begin(absl::Span<const int64_t> example_ids) {
  SOTTO_CHECK(static_cast<int64_t>(example_ids.size()) <= options_.max_examples);
  example_ids_.assign(example_ids.begin(), example_ids.end());
  norm_sq_B_ = at::zeros({static_cast<int64_t>(example_ids.size())}, at::kDouble);
  coefficients_ = {};
  held_->Clear();
}

nn::GradientSink& GradientPass::Sink(Verb verb, int unit, absl::Span<const at::Tensor> gradients) {
  if (verb == Verb::kNorm && options_.mode.kept == layout::Kept::kExampleGrads) {
    sink_ = std::make_unique<HoldSink>(*held_, unit, norm_sq_B_);
  } else if (verb == Verb::kNorm) {
    sink_ = std::make_unique<NormSink>(norm_sq_B_);
  } else if (options_.mode.norm == layout::Norm::kNone) {
    sink_ = std::make_unique<WeightGradSink>(/*coefficients=*/nullptr, gradients);
  } else {
    SOTTO_CHECK(coefficients_.values_B.defined());  // Scaling precedes every sum.
    sink_ = std::make_unique<WeightGradSink>(&coefficients_, gradients);
  }
  return *sink_;
}

void GradientPass::Clip(const at::Tensor& losses_B) {
  coefficients_ = ComputeCoefficients(norm_sq_B_, losses_B, options_.applied_clip_norm);
}

void GradientPass::Fold(int unit, absl::Span<const at::Tensor> gradients) {
  SOTTO_CHECK(coefficients_.values_B.defined());
  held_->Fold(unit, coefficients_, gradients);
}

PrivateStatistics GradientPass::End(const at::Tensor& losses_B) {
  PrivateStatistics statistics;
  const float* losses = losses_B.const_data_ptr<float>();
  const float* factors =
      coefficients_.values_B.defined() ? coefficients_.values_B.const_data_ptr<float>() : nullptr;
  for (size_t b = 0; b < example_ids_.size(); ++b) {
    if (example_ids_[b] < 0) continue;
    StatisticsReader::AddExample(statistics, losses[b], options_.loss_bound,
                                 factors != nullptr && factors[b] < 1);
  }
  sink_.reset();
  held_->Clear();
  return statistics;
}

}  // namespace sotto::dp
