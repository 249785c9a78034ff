#ifndef SOTTO_WORKER_DP_GRADIENT_PASS_H_
#define SOTTO_WORKER_DP_GRADIENT_PASS_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "ATen/core/Tensor.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/layout/flat_layout.h"
#include "common/layout/gradient_mode.h"
#include "worker/dp/clipper.h"
#include "worker/dp/clipping_rule.h"
#include "worker/dp/l2_sensitivity.h"
#include "worker/dp/private_statistics.h"
#include "worker/nn/gradient_sink.h"

namespace sotto::dp {

class BookKeeping;
class DeferredNorms;
class HeldGradients;

// From output gradients to clipped gradient sums, for one micro-batch at a time. Externally
// synchronised. The caller follows the schedule; per micro-batch:
//
//   no norm (no_dp)           Begin; per unit Sink(kWeightGrad);                            End
//   two passes (ACTIVATIONS)  Begin; per unit Sink(kNorm); [MeasureDeferred]; Clip;
//                             per unit Sink(kWeightGrad);                                   End
//   one pass (OUTPUT_GRADS,   Begin; per unit Sink(kNorm); [MeasureDeferred]; Clip;
//   EXAMPLE_GRADS, mixed)     per unit Fold;                                                End
//
// MeasureDeferred where some mode's `when` is AFTER_BACKWARD. Gradient views are those of the
// unit's slot in the layout's order (undefined for frozen parameters); everything is added to what
// they hold. EndStep after the step's last micro-batch.
//
// Guarantee: after Clip, what the later calls add for one example has L2 norm at most
// sensitivity() (1 - the rule's margin) over all units together; an example with a non-finite norm
// or loss adds exactly zero. Scaling precedes every sum.
class GradientPass {
 public:
  struct Options {
    layout::UnitMode mode;
    layout::LayerModes layer_modes;  // empty: `mode` for every layer
    // Where nothing is clipped (Norm::kNone) the rule only says what noise is scaled by.
    std::shared_ptr<const ClippingRule> clipping;
    double loss_bound = 0;  // each example's loss is clipped to [0, loss_bound] in the statistics
    int64_t max_examples = 0;  // B of the largest micro-batch
  };
  enum class Verb { kNorm, kWeightGrad };

  // `layout` must outlive the pass. Held gradients are allocated at first use. INVALID_ARGUMENT: no
  // clipping rule, max_examples < 1, layer modes that do not fit the layout or mix what one pass
  // cannot do (only OUTPUT_GRADS and EXAMPLE_GRADS mix).
  static absl::StatusOr<std::unique_ptr<GradientPass>> Create(const layout::FlatLayout& layout,
                                                              const Options& options);
  ~GradientPass();

  // Sets the rule's clip norm C for the steps to come. FAILED_PRECONDITION inside a step (between
  // its first Begin and EndStep); INVALID_ARGUMENT: not finite and positive.
  absl::Status SetClipNorm(double clip_norm);

  // Of the sums that this pass makes now.
  L2Sensitivity sensitivity() const { return clipping_->sensitivity(); }

  // Ends the step and returns the sensitivity of all that was added since the one before. The same
  // whatever the number of micro-batches, none included.
  L2Sensitivity EndStep();

  // Starts a micro-batch; ids are -1 for dummies.
  void Begin(absl::Span<const int64_t> example_ids);

  // The sink for one stage's Backward. Valid until the next call of Sink. `gradients` may be empty
  // for kNorm.
  nn::GradientSink& Sink(Verb verb, int unit, absl::Span<const at::Tensor> gradients);

  // NORM by itself: measures every layer whose norm was put off. Returns how many there were.
  int64_t MeasureDeferred();

  // COEFFICIENTS: needs the norms of every unit and the losses [B] of the forward pass.
  void Clip(const at::Tensor& losses_B);

  // FOLD, or WEIGHT_GRAD without a backward pass: adds sum_b c_b grad_b of the unit from what was
  // held and gives it back. `parameters` are the unit's gathered ones; only a unit whose head forms
  // its output gradients again reads them.
  void Fold(int unit, absl::Span<const at::Tensor> gradients,
            absl::Span<const at::Tensor> parameters = {});

  // Ends the micro-batch and returns its private sums. Without norms the losses must be given here
  // or in Clip. `found_label_B`: bool [B], of a classifier; undefined: no labels are counted.
  PrivateStatistics End(const at::Tensor& losses_B, const at::Tensor& found_label_B = {});

  // Squared norms over all units of the micro-batch (float64 [B]), whole from Clip on. Private
  // values: for tests and steward views.
  const at::Tensor& private_norm_sq_B() const { return norm_sq_B_; }

 private:
  GradientPass(const layout::FlatLayout& layout, const Options& options);

  const Coefficients& CoefficientsOf(int unit) const;

  const Options options_;
  std::shared_ptr<const ClippingRule> clipping_;
  std::unique_ptr<HeldGradients> held_;
  std::unique_ptr<BookKeeping> book_;
  std::unique_ptr<DeferredNorms> deferred_;
  std::unique_ptr<nn::GradientSink> sink_;
  bool in_step_ = false;
  std::vector<int64_t> example_ids_;
  at::Tensor norm_sq_GB_;  // by clipping group
  at::Tensor norm_sq_B_;
  MicroBatchCoefficients coefficients_;
};

}  // namespace sotto::dp

#endif  // SOTTO_WORKER_DP_GRADIENT_PASS_H_
