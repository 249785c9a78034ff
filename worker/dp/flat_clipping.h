#ifndef SOTTO_WORKER_DP_FLAT_CLIPPING_H_
#define SOTTO_WORKER_DP_FLAT_CLIPPING_H_

#include <memory>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "worker/dp/clipping_rule.h"

namespace sotto::dp {

// One norm over all trainable parameters: factor min(1, C' / norm), C' = C (1 - margin).
class FlatClipping final : public ClippingRule {
 public:
  // INVALID_ARGUMENT: C not finite and positive, a margin outside [0, 1).
  static absl::StatusOr<std::shared_ptr<const ClippingRule>> Create(double clip_norm,
                                                                    double margin);

  L2Sensitivity sensitivity() const override { return L2Sensitivity(clip_norm_); }
  void Factors(absl::Span<const double> norm_sq_G, absl::Span<float> factors_G) const override;
  absl::StatusOr<std::shared_ptr<const ClippingRule>> WithClipNorm(double clip_norm) const override;

 private:
  FlatClipping(double clip_norm, double margin) : clip_norm_(clip_norm), margin_(margin) {}

  const double clip_norm_;
  const double margin_;
};

}  // namespace sotto::dp

#endif  // SOTTO_WORKER_DP_FLAT_CLIPPING_H_
