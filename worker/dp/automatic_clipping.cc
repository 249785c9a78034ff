#include "worker/dp/automatic_clipping.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace sotto::dp {

absl::StatusOr<std::shared_ptr<const ClippingRule>> AutomaticClipping::Create(double clip_norm,
                                                                              double gamma,
                                                                              double margin) {
  RETURN_IF_ERROR(CheckPositive("clip_norm", clip_norm));
  RETURN_IF_ERROR(CheckMargin(margin));
  if (!std::isfinite(gamma) || gamma < kLeastGamma) {
    return absl::InvalidArgumentError(
        absl::StrCat("gamma must be finite and at least ", kLeastGamma, ", but is ", gamma));
  }
  return std::shared_ptr<const ClippingRule>(new AutomaticClipping(clip_norm, gamma, margin));
}

void AutomaticClipping::Factors(absl::Span<const double> norm_sq_G,
                                absl::Span<float> factors_G) const {
  factors_G[0] = RoundDown(clip_norm_ * (1 - margin_) / (std::sqrt(norm_sq_G[0]) + gamma_));
}

absl::StatusOr<std::shared_ptr<const ClippingRule>> AutomaticClipping::WithClipNorm(
    double clip_norm) const {
  return Create(clip_norm, gamma_, margin_);
}

}  // namespace sotto::dp
