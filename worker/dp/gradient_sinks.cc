#include "worker/dp/gradient_sinks.h"

#include <utility>

#include "common/base/log.h"

namespace sotto::dp {
namespace {

nn::NormForm FormOf(const layout::UnitMode& mode) {
  switch (mode.norm) {
    case layout::Norm::kGram:
      return nn::NormForm::kGram;
    case layout::Norm::kFromGradient:
      // Where nothing is held, the gradient of a layer without a slab is its output gradients.
      return mode.kept == layout::Kept::kExampleGrads ? nn::NormForm::kTiled
                                                      : nn::NormForm::kFromGradient;
    case layout::Norm::kTiled:
    case layout::Norm::kNone:
      break;
  }
  return nn::NormForm::kTiled;
}

}  // namespace

const layout::UnitMode& NormSink::ModeOf(const nn::Layer& layer) const {
  if (context_.layer_modes == nullptr) return context_.mode;
  SOTTO_CHECK(layer.index() >= 0 && layer.index() < static_cast<int>(context_.layer_modes->size()));
  return (*context_.layer_modes)[layer.index()];
}

bool NormSink::HoldsGradient(const nn::Layer& layer) const {
  return ModeOf(layer).kept == layout::Kept::kExampleGrads &&
         layer.held_form() == nn::HeldForm::kSlab;
}

void NormSink::AddNorm(const nn::Layer& layer, const nn::SavedInput& saved,
                       const at::Tensor& output_grads) const {
  layer.AddExampleNormSq(saved, output_grads, FormOf(ModeOf(layer)),
                         context_.norm_sq_B.narrow(0, saved.first_example, output_grads.size(0)));
}

void NormSink::Visit(const nn::Layer& layer, const nn::SavedInput& saved,
                     const at::Tensor& output_grads) {
  const layout::UnitMode& mode = ModeOf(layer);
  const bool deferred = mode.when == layout::When::kAfterBackward;
  if (HoldsGradient(layer)) {
    if (deferred) {
      context_.deferred.AddHeld(context_.held, context_.unit, layer, saved, output_grads,
                                context_.norm_sq_B);
    } else {
      context_.held.Hold(context_.unit, layer, saved, output_grads, context_.norm_sq_B);
    }
    return;
  }
  if (deferred) {
    context_.deferred.Add(layer, saved, output_grads, FormOf(mode), context_.norm_sq_B);
  } else {
    AddNorm(layer, saved, output_grads);
  }
  if (layout::IsOnePass(mode.kept)) context_.book.Keep(context_.unit, layer, saved, output_grads);
}

bool NormSink::fuses(const nn::Layer& layer) const {
  return ModeOf(layer).when == layout::When::kInLayer && !HoldsGradient(layer);
}

at::Tensor NormSink::FusedBackward(const nn::Layer& layer, absl::Span<const at::Tensor> parameters,
                                   const nn::SavedInput& saved,
                                   const at::Tensor& output_grads) const {
  return layer.BackwardInputWithNormSq(
      parameters, saved, output_grads, FormOf(ModeOf(layer)),
      context_.norm_sq_B.narrow(0, saved.first_example, output_grads.size(0)));
}

at::Tensor NormSink::Through(const nn::Layer& layer, absl::Span<const at::Tensor> parameters,
                             const nn::SavedInput& saved, const at::Tensor& output_grads) {
  if (!fuses(layer)) return GradientSink::Through(layer, parameters, saved, output_grads);
  const at::Tensor input_grads = FusedBackward(layer, parameters, saved, output_grads);
  if (layout::IsOnePass(ModeOf(layer).kept)) {
    context_.book.Keep(context_.unit, layer, saved, output_grads);
  }
  return input_grads;
}

at::Tensor NormSink::ThroughRecomputable(const nn::Layer& layer,
                                         absl::Span<const at::Tensor> parameters,
                                         const nn::SavedInput& saved,
                                         const at::Tensor& output_grads, Recompute again) {
  if (!fuses(layer)) {
    return GradientSink::ThroughRecomputable(layer, parameters, saved, output_grads,
                                             std::move(again));
  }
  const at::Tensor input_grads = FusedBackward(layer, parameters, saved, output_grads);
  if (layout::IsOnePass(ModeOf(layer).kept)) {
    context_.book.KeepInput(context_.unit, layer, saved, std::move(again));
  }
  return input_grads;
}

void NormSink::VisitRecomputable(const nn::Layer& layer, const nn::SavedInput& saved,
                                 const at::Tensor& output_grads, Recompute again) {
  if (HoldsGradient(layer)) {
    context_.held.Hold(context_.unit, layer, saved, output_grads, context_.norm_sq_B);
    return;
  }
  AddNorm(layer, saved, output_grads);
  if (layout::IsOnePass(ModeOf(layer).kept)) {
    context_.book.KeepInput(context_.unit, layer, saved, std::move(again));
  }
}

bool NormSink::needs_cross_term(const nn::Layer& layer) const { return !HoldsGradient(layer); }

void WeightGradSink::Visit(const nn::Layer& layer, const nn::SavedInput& saved,
                           const at::Tensor& output_grads) {
  if (coefficients_ == nullptr) {
    layer.WeightGrad(saved, output_grads, at::Tensor(), gradients_);
    return;
  }
  AddClippedGradients(layer, saved, output_grads, *coefficients_, gradients_);
}

at::Tensor WeightGradSink::Through(const nn::Layer& layer, absl::Span<const at::Tensor> parameters,
                                   const nn::SavedInput& saved, const at::Tensor& output_grads) {
  Visit(layer, saved, output_grads);
  if (!after_fused_) return layer.BackwardInput(parameters, saved, output_grads);
  return layer.BackwardInputWithNormSq(parameters, saved, output_grads, nn::NormForm::kTiled,
                                       /*norm_sq_B=*/at::Tensor());
}

at::Tensor WeightGradSink::ThroughRecomputable(const nn::Layer& layer,
                                               absl::Span<const at::Tensor> parameters,
                                               const nn::SavedInput& saved,
                                               const at::Tensor& output_grads, Recompute) {
  return Through(layer, parameters, saved, output_grads);
}

}  // namespace sotto::dp
