#include "worker/dp/flat_clipping.h"

#include <cmath>

#include "common/base/status_macros.h"

namespace sotto::dp {

absl::StatusOr<std::shared_ptr<const ClippingRule>> FlatClipping::Create(double clip_norm,
                                                                         double margin) {
  RETURN_IF_ERROR(CheckPositive("clip_norm", clip_norm));
  RETURN_IF_ERROR(CheckMargin(margin));
  return std::shared_ptr<const ClippingRule>(new FlatClipping(clip_norm, margin));
}

void FlatClipping::Factors(absl::Span<const double> norm_sq_G, absl::Span<float> factors_G) const {
  const double norm = std::sqrt(norm_sq_G[0]);
  const double bound = clip_norm_ * (1 - margin_);
  factors_G[0] = norm <= bound ? 1.0f : RoundDown(bound / norm);
}

absl::StatusOr<std::shared_ptr<const ClippingRule>> FlatClipping::WithClipNorm(
    double clip_norm) const {
  return Create(clip_norm, margin_);
}

}  // namespace sotto::dp
