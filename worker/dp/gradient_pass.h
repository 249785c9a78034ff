#ifndef SOTTO_WORKER_DP_GRADIENT_PASS_H_
#define SOTTO_WORKER_DP_GRADIENT_PASS_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "ATen/core/Tensor.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/layout/flat_layout.h"
#include "common/layout/gradient_mode.h"
#include "worker/dp/clipper.h"
#include "worker/dp/private_statistics.h"
#include "worker/nn/gradient_sink.h"

namespace sotto::dp {

class HeldGradients;

// From output gradients to clipped gradient sums, for one micro-batch at a time. Externally
// synchronised. The caller follows the schedule:
//   one pass, no norm (no_dp)        Begin; per unit Sink(kWeightGrad) ; End one pass, kept
//   EXAMPLE_GRADS     Begin; per unit Sink(kNorm); Clip; per unit Fold              ; End two
//   passes, kept ACTIVATIONS     Begin; per unit Sink(kNorm); Clip; per unit Sink(kWeightGrad) ;
//   End
// Gradient views are those of the unit's slot in the layout's order; everything is added to what
// they hold.
//
// Guarantee: after Clip, what the later calls add for one example has L2 norm at most `clip_norm`
// over all units together; an example with a non-finite norm or loss adds exactly zero.
class GradientPass {
 public:
  struct Options {
    layout::UnitMode mode;
    double applied_clip_norm = 0;  // C' of AppliedClipNorm; unused without norms
    double loss_bound = 0;  // each example's loss is clipped to [0, loss_bound] in the statistics
    int64_t max_examples = 0;  // B of the largest micro-batch
  };
  enum class Verb { kNorm, kWeightGrad };

  // `layout` must outlive the pass. Held gradients are allocated at first use.
  static absl::StatusOr<std::unique_ptr<GradientPass>> Create(const layout::FlatLayout& layout,
                                                              const Options& options);
  ~GradientPass();

  // Starts a micro-batch; ids are -1 for dummies.
  void Begin(absl::Span<const int64_t> example_ids);

  // The sink for one stage's Backward. Valid until the next call of Sink. `gradients` may be empty
  // for kNorm.
  nn::GradientSink& Sink(Verb verb, int unit, absl::Span<const at::Tensor> gradients);

  // COEFFICIENTS: needs the norms of every unit and the losses [B] of the forward pass.
  void Clip(const at::Tensor& losses_B);

  // FOLD: adds sum_b c_b grad_b of the unit and gives its held output gradients back.
  void Fold(int unit, absl::Span<const at::Tensor> gradients);

  // Ends the micro-batch and returns its private sums. Without norms the losses must be given here
  // or in Clip.
  PrivateStatistics End(const at::Tensor& losses_B);

  // Squared norms [B] of the current micro-batch (float64). Private values: for tests and steward
  // views.
  const at::Tensor& private_norm_sq_B() const { return norm_sq_B_; }

 private:
  GradientPass(const layout::FlatLayout& layout, const Options& options);

  const Options options_;
  std::unique_ptr<HeldGradients> held_;
  std::unique_ptr<nn::GradientSink> sink_;
  std::vector<int64_t> example_ids_;
  at::Tensor norm_sq_B_;
  Coefficients coefficients_;
};

}  // namespace sotto::dp

#endif  // SOTTO_WORKER_DP_GRADIENT_PASS_H_
