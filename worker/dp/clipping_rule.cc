#include "worker/dp/clipping_rule.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"

namespace sotto::dp {

double RoundingMargin(int64_t cap) { return std::max(0x1p-14, static_cast<double>(cap) * 0x1p-23); }

absl::Status ClippingRule::CheckPositive(absl::string_view what, double value) {
  if (std::isfinite(value) && value > 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(what, " must be finite and positive, but is ", value));
}

absl::Status ClippingRule::CheckMargin(double margin) {
  if (margin >= 0 && margin < 1) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the clipping margin must be in [0, 1), but is ", margin));
}

float ClippingRule::RoundDown(double value) {
  if (value >= std::numeric_limits<float>::max()) return std::numeric_limits<float>::max();
  const float rounded = static_cast<float>(value);
  return rounded > value ? std::nextafter(rounded, 0.0f) : rounded;
}

}  // namespace sotto::dp
