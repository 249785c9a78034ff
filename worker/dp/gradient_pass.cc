#include "worker/dp/gradient_pass.h"

#include <optional>
#include <utility>

#include "ATen/ops/zeros.h"
#include "absl/strings/str_cat.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "worker/dp/book_keeping.h"
#include "worker/dp/deferred_norms.h"
#include "worker/dp/gradient_sinks.h"
#include "worker/dp/held_gradients.h"
#include "worker/dp/statistics_reader.h"

namespace sotto::dp {
namespace {

bool Mixes(const layout::UnitMode& job, const layout::UnitMode& layer) {
  if ((job.norm == layout::Norm::kNone) != (layer.norm == layout::Norm::kNone)) return false;
  if (layout::IsOnePass(job.kept)) return layout::IsOnePass(layer.kept);
  return layer.kept == job.kept;
}

absl::Status CheckLayerModes(const layout::FlatLayout& layout,
                             const GradientPass::Options& options) {
  if (options.layer_modes.empty()) return absl::OkStatus();
  if (options.layer_modes.size() != static_cast<size_t>(layout.num_units())) {
    return absl::InvalidArgumentError(
        absl::StrCat("layer modes are given for ", options.layer_modes.size(),
                     " units, but the layout has ", layout.num_units()));
  }
  for (size_t unit = 0; unit < options.layer_modes.size(); ++unit) {
    for (size_t layer = 0; layer < options.layer_modes[unit].size(); ++layer) {
      if (Mixes(options.mode, options.layer_modes[unit][layer])) continue;
      return absl::InvalidArgumentError(
          absl::StrCat("the mode of layer ", layer, " of unit ", unit,
                       " does not go with the job's: one backward pass or two, norms or none"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<GradientPass>> GradientPass::Create(const layout::FlatLayout& layout,
                                                                   const Options& options) {
  if (options.clipping == nullptr) {
    return absl::InvalidArgumentError("a gradient pass needs a clipping rule");
  }
  if (options.max_examples < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("max_examples must be at least 1, but is ", options.max_examples));
  }
  const int groups = options.clipping->num_groups();
  if (groups != 1 && groups != layout.num_units()) {
    return absl::InvalidArgumentError(absl::StrCat("clip thresholds are given for ", groups,
                                                   " units, but the layout has ",
                                                   layout.num_units()));
  }
  RETURN_IF_ERROR(CheckLayerModes(layout, options));
  return std::unique_ptr<GradientPass>(new GradientPass(layout, options));
}

GradientPass::GradientPass(const layout::FlatLayout& layout, const Options& options)
    : options_(options),
      clipping_(options.clipping),
      held_(std::make_unique<HeldGradients>(layout, options.max_examples)),
      book_(std::make_unique<BookKeeping>(layout.num_units())),
      deferred_(std::make_unique<DeferredNorms>()) {}

GradientPass::~GradientPass() = default;

absl::Status GradientPass::SetClipNorm(double clip_norm) {
  if (in_step_) {
    return absl::FailedPreconditionError(
        "the clip norm can change between steps only: examples of this step were added already");
  }
  ASSIGN_OR_RETURN(clipping_, clipping_->WithClipNorm(clip_norm));
  return absl::OkStatus();
}

L2Sensitivity GradientPass::EndStep() {
  in_step_ = false;
  return clipping_->sensitivity();
}

void GradientPass::Begin(absl::Span<const int64_t> example_ids) {
  SOTTO_CHECK(static_cast<int64_t>(example_ids.size()) <= options_.max_examples);
  in_step_ = true;
  example_ids_.assign(example_ids.begin(), example_ids.end());
  norm_sq_GB_ =
      at::zeros({clipping_->num_groups(), static_cast<int64_t>(example_ids.size())}, at::kDouble);
  norm_sq_B_ = norm_sq_GB_[0];  // The same memory where there is one group.
  coefficients_ = {};
  held_->Clear();
  book_->Clear();
  deferred_->Clear();
}

nn::GradientSink& GradientPass::Sink(Verb verb, int unit, absl::Span<const at::Tensor> gradients) {
  if (verb == Verb::kNorm) {
    sink_ = std::make_unique<NormSink>(NormSink::Context{
        .held = *held_,
        .book = *book_,
        .deferred = *deferred_,
        .mode = options_.mode,
        .layer_modes = options_.layer_modes.empty() ? nullptr : &options_.layer_modes[unit],
        .unit = unit,
        .norm_sq_B = norm_sq_GB_[clipping_->GroupOf(unit)]});
  } else if (options_.mode.norm == layout::Norm::kNone) {
    sink_ = std::make_unique<WeightGradSink>(/*coefficients=*/nullptr, gradients,
                                             /*after_fused=*/false);
  } else {
    sink_ = std::make_unique<WeightGradSink>(
        &CoefficientsOf(unit), gradients,
        /*after_fused=*/options_.mode.when == layout::When::kInLayer);
  }
  return *sink_;
}

int64_t GradientPass::MeasureDeferred() { return deferred_->Measure(); }

void GradientPass::Clip(const at::Tensor& losses_B) {
  SOTTO_CHECK(deferred_->empty());  // A norm that is missing would clip too little.
  coefficients_ = ComputeCoefficients(norm_sq_GB_, losses_B, *clipping_);
  if (clipping_->num_groups() > 1) norm_sq_B_ = norm_sq_GB_.sum(0);
}

const Coefficients& GradientPass::CoefficientsOf(int unit) const {
  SOTTO_CHECK(!coefficients_.groups.empty());  // Scaling precedes every sum.
  return coefficients_.groups[clipping_->GroupOf(unit)];
}

void GradientPass::Fold(int unit, absl::Span<const at::Tensor> gradients,
                        absl::Span<const at::Tensor> parameters) {
  const Coefficients& coefficients = CoefficientsOf(unit);
  held_->Fold(unit, coefficients, gradients);
  book_->AddTo(unit, coefficients, gradients, parameters);
}

PrivateStatistics GradientPass::End(const at::Tensor& losses_B, const at::Tensor& found_label_B) {
  PrivateStatistics statistics;
  const float* losses = losses_B.const_data_ptr<float>();
  const bool* found_label =
      found_label_B.defined() ? found_label_B.const_data_ptr<bool>() : nullptr;
  for (size_t b = 0; b < example_ids_.size(); ++b) {
    if (example_ids_[b] < 0) continue;
    const bool was_clipped = !coefficients_.groups.empty() && coefficients_.clipped_B[b];
    std::optional<bool> found;
    if (found_label != nullptr) found = found_label[b];
    StatisticsReader::AddExample(statistics, losses[b], options_.loss_bound, was_clipped, found);
  }
  sink_.reset();
  held_->Clear();
  book_->Clear();
  deferred_->Clear();
  return statistics;
}

}  // namespace sotto::dp
