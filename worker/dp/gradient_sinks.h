#ifndef SOTTO_WORKER_DP_GRADIENT_SINKS_H_
#define SOTTO_WORKER_DP_GRADIENT_SINKS_H_

#include <vector>

#include "ATen/core/Tensor.h"
#include "absl/types/span.h"
#include "common/layout/gradient_mode.h"
#include "worker/dp/book_keeping.h"
#include "worker/dp/clipper.h"
#include "worker/dp/deferred_norms.h"
#include "worker/dp/held_gradients.h"
#include "worker/nn/gradient_sink.h"

namespace sotto::dp {

// The backward pass that yields norms: of one unit, each layer by its own mode. What the mode keeps
// for the weight gradients goes to HeldGradients or BookKeeping.
class NormSink final : public nn::GradientSink {
 public:
  struct Context {
    HeldGradients& held;
    BookKeeping& book;
    DeferredNorms& deferred;
    const layout::UnitMode mode;
    const std::vector<layout::UnitMode>* layer_modes;  // of the unit; null: `mode` for all
    const int unit;
    const at::Tensor norm_sq_B;  // of the unit's clipping group
  };

  // The context's references outlive the sink.
  explicit NormSink(const Context& context) : context_(context) {}

  void Visit(const nn::Layer& layer, const nn::SavedInput& saved,
             const at::Tensor& output_grads) override;
  // IN_LAYER: norm and input gradient example by example.
  at::Tensor Through(const nn::Layer& layer, absl::Span<const at::Tensor> parameters,
                     const nn::SavedInput& saved, const at::Tensor& output_grads) override;
  // Its norm is never deferred: that would keep the output gradients that are formed again.
  void VisitRecomputable(const nn::Layer& layer, const nn::SavedInput& saved,
                         const at::Tensor& output_grads, Recompute again) override;
  at::Tensor ThroughRecomputable(const nn::Layer& layer, absl::Span<const at::Tensor> parameters,
                                 const nn::SavedInput& saved, const at::Tensor& output_grads,
                                 Recompute again) override;
  bool fuses(const nn::Layer& layer) const override;
  bool needs_another_pass() const override { return !layout::IsOnePass(context_.mode.kept); }
  bool needs_cross_term(const nn::Layer& layer) const override;

 private:
  const layout::UnitMode& ModeOf(const nn::Layer& layer) const;
  bool HoldsGradient(const nn::Layer& layer) const;
  at::Tensor FusedBackward(const nn::Layer& layer, absl::Span<const at::Tensor> parameters,
                           const nn::SavedInput& saved, const at::Tensor& output_grads) const;
  void AddNorm(const nn::Layer& layer, const nn::SavedInput& saved,
               const at::Tensor& output_grads) const;

  const Context context_;
};

// Adds weight gradients to a unit's slot: all examples alike, or each scaled by its coefficient
// before the sum.
class WeightGradSink final : public nn::GradientSink {
 public:
  // Null coefficients: all ones. `after_fused`: the norms were taken inside the layers' backward,
  // and this second pass forms the same input gradients, bit for bit.
  WeightGradSink(const Coefficients* coefficients, absl::Span<const at::Tensor> gradients,
                 bool after_fused)
      : coefficients_(coefficients),
        gradients_(gradients.begin(), gradients.end()),
        after_fused_(after_fused) {}

  void Visit(const nn::Layer& layer, const nn::SavedInput& saved,
             const at::Tensor& output_grads) override;
  at::Tensor Through(const nn::Layer& layer, absl::Span<const at::Tensor> parameters,
                     const nn::SavedInput& saved, const at::Tensor& output_grads) override;
  at::Tensor ThroughRecomputable(const nn::Layer& layer, absl::Span<const at::Tensor> parameters,
                                 const nn::SavedInput& saved, const at::Tensor& output_grads,
                                 Recompute again) override;
  bool fuses(const nn::Layer&) const override { return after_fused_; }

 private:
  const Coefficients* const coefficients_;
  const std::vector<at::Tensor> gradients_;
  const bool after_fused_;
};

}  // namespace sotto::dp

#endif  // SOTTO_WORKER_DP_GRADIENT_SINKS_H_
