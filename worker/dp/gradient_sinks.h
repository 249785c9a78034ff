#ifndef SOTTO_WORKER_DP_GRADIENT_SINKS_H_
#define SOTTO_WORKER_DP_GRADIENT_SINKS_H_

#include <utility>
#include <vector>

#include "ATen/core/Tensor.h"
#include "absl/types/span.h"
#include "worker/dp/clipper.h"
#include "worker/dp/held_gradients.h"
#include "worker/nn/gradient_sink.h"

namespace sotto::dp {

// First of two passes: norms from activations and output gradients.
class NormSink final : public nn::GradientSink {
 public:
  explicit NormSink(at::Tensor norm_sq_B) : norm_sq_B_(std::move(norm_sq_B)) {}

  void Visit(const nn::Layer& layer, const nn::SavedInput& saved,
             const at::Tensor& output_grads) override;
  bool needs_cross_term() const override { return true; }

 private:
  const at::Tensor norm_sq_B_;
};

// One pass: each example's gradient is formed, measured and held.
class HoldSink final : public nn::GradientSink {
 public:
  // `held` must outlive the sink.
  HoldSink(HeldGradients& held, int unit, at::Tensor norm_sq_B)
      : held_(held), unit_(unit), norm_sq_B_(std::move(norm_sq_B)) {}

  void Visit(const nn::Layer& layer, const nn::SavedInput& saved,
             const at::Tensor& output_grads) override;

 private:
  HeldGradients& held_;
  const int unit_;
  const at::Tensor norm_sq_B_;
};

// Adds weight gradients to a unit's slot: all examples alike, or each scaled by its coefficient
// before the sum.
class WeightGradSink final : public nn::GradientSink {
 public:
  // Null coefficients: all ones.
  WeightGradSink(const Coefficients* coefficients, absl::Span<const at::Tensor> gradients)
      : coefficients_(coefficients), gradients_(gradients.begin(), gradients.end()) {}

  void Visit(const nn::Layer& layer, const nn::SavedInput& saved,
             const at::Tensor& output_grads) override;

 private:
  const Coefficients* const coefficients_;
  const std::vector<at::Tensor> gradients_;
};

}  // namespace sotto::dp

#endif  // SOTTO_WORKER_DP_GRADIENT_SINKS_H_
