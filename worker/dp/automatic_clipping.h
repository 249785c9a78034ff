#ifndef SOTTO_WORKER_DP_AUTOMATIC_CLIPPING_H_
#define SOTTO_WORKER_DP_AUTOMATIC_CLIPPING_H_

#include <memory>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "worker/dp/clipping_rule.h"

namespace sotto::dp {

// Every gradient is scaled to a norm below C' = C (1 - margin): factor C' / (norm + gamma). Bu et
// al. 2022, arXiv 2206.07136, "AUTO-S". Nothing is left as it was, so a factor may exceed 1.
class AutomaticClipping final : public ClippingRule {
 public:
  // Below it, squares that underflow float32 would hide gradients as long as gamma.
  static constexpr double kLeastGamma = 1e-9;

  // INVALID_ARGUMENT: C not finite and positive, gamma below kLeastGamma or not finite, a margin
  // outside [0, 1).
  static absl::StatusOr<std::shared_ptr<const ClippingRule>> Create(double clip_norm, double gamma,
                                                                    double margin);

  L2Sensitivity sensitivity() const override { return L2Sensitivity(clip_norm_); }
  void Factors(absl::Span<const double> norm_sq_G, absl::Span<float> factors_G) const override;
  absl::StatusOr<std::shared_ptr<const ClippingRule>> WithClipNorm(double clip_norm) const override;

 private:
  AutomaticClipping(double clip_norm, double gamma, double margin)
      : clip_norm_(clip_norm), gamma_(gamma), margin_(margin) {}

  const double clip_norm_;
  const double gamma_;
  const double margin_;
};

}  // namespace sotto::dp

#endif  // SOTTO_WORKER_DP_AUTOMATIC_CLIPPING_H_
