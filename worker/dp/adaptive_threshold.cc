#include "worker/dp/adaptive_threshold.h"

#include <algorithm>
#include <cmath>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace sotto::dp {

absl::StatusOr<std::unique_ptr<AdaptiveThreshold>> AdaptiveThreshold::Create(
    const Options& options) {
  if (!(options.target_quantile > 0 && options.target_quantile < 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("target_quantile must be in (0, 1), but is ", options.target_quantile));
  }
  if (!(options.learning_rate > 0 && std::isfinite(options.learning_rate))) {
    return absl::InvalidArgumentError(
        absl::StrCat("the threshold's learning_rate must be finite and positive, but is ",
                     options.learning_rate));
  }
  if (!(options.minimum > 0 && options.minimum <= options.initial &&
        options.initial <= options.maximum && std::isfinite(options.maximum))) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the threshold's minimum, first value and maximum must be positive and ascend, but are ",
        options.minimum, ", ", options.initial, ", ", options.maximum));
  }
  return std::unique_ptr<AdaptiveThreshold>(new AdaptiveThreshold(options));
}

void AdaptiveThreshold::Observe(const NoisedMetrics& metrics) {
  const double not_clipped = 1 - metrics.noised_clip_fraction();
  const double moved =
      clip_norm_ * std::exp(-options_.learning_rate * (not_clipped - options_.target_quantile));
  clip_norm_ = std::clamp(moved, options_.minimum, options_.maximum);
}

}  // namespace sotto::dp
