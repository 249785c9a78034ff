#include "worker/dp/per_unit_clipping.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace sotto::dp {
namespace {

double NormOf(const std::vector<double>& thresholds) {
  double sum = 0;
  for (double threshold : thresholds) sum += threshold * threshold;
  return std::sqrt(sum);
}

}  // namespace

PerUnitClipping::PerUnitClipping(std::vector<double> thresholds, double clip_norm, double margin)
    : thresholds_(std::move(thresholds)), clip_norm_(clip_norm), margin_(margin) {}

absl::StatusOr<std::shared_ptr<const ClippingRule>> PerUnitClipping::Create(
    std::vector<double> thresholds, double margin) {
  for (size_t unit = 0; unit < thresholds.size(); ++unit) {
    if (std::isfinite(thresholds[unit]) && thresholds[unit] >= 0) continue;
    return absl::InvalidArgumentError(absl::StrCat("the clip threshold of unit ", unit,
                                                   " must be finite and not negative, but is ",
                                                   thresholds[unit]));
  }
  RETURN_IF_ERROR(CheckMargin(margin));
  const double clip_norm = NormOf(thresholds);
  RETURN_IF_ERROR(CheckPositive("the clip norm of the units' thresholds", clip_norm));
  return std::shared_ptr<const ClippingRule>(
      new PerUnitClipping(std::move(thresholds), clip_norm, margin));
}

absl::StatusOr<std::shared_ptr<const ClippingRule>> PerUnitClipping::CreateEqual(
    double clip_norm, const std::vector<bool>& trains, double margin) {
  RETURN_IF_ERROR(CheckPositive("clip_norm", clip_norm));
  RETURN_IF_ERROR(CheckMargin(margin));
  const auto units = static_cast<double>(std::count(trains.begin(), trains.end(), true));
  if (units == 0) return absl::InvalidArgumentError("no unit trains: there is nothing to clip");
  std::vector<double> thresholds;
  for (bool unit_trains : trains) {
    thresholds.push_back(unit_trains ? clip_norm / std::sqrt(units) : 0.0);
  }
  return std::shared_ptr<const ClippingRule>(
      new PerUnitClipping(std::move(thresholds), clip_norm, margin));
}

void PerUnitClipping::Factors(absl::Span<const double> norm_sq_G,
                              absl::Span<float> factors_G) const {
  for (size_t unit = 0; unit < thresholds_.size(); ++unit) {
    const double norm = std::sqrt(norm_sq_G[unit]);
    const double bound = thresholds_[unit] * (1 - margin_);
    factors_G[unit] = norm <= bound ? 1.0f : RoundDown(bound / norm);
  }
}

absl::StatusOr<std::shared_ptr<const ClippingRule>> PerUnitClipping::WithClipNorm(
    double clip_norm) const {
  RETURN_IF_ERROR(CheckPositive("clip_norm", clip_norm));
  std::vector<double> thresholds = thresholds_;
  for (double& threshold : thresholds) threshold *= clip_norm / clip_norm_;
  return std::shared_ptr<const ClippingRule>(
      new PerUnitClipping(std::move(thresholds), clip_norm, margin_));
}

}  // namespace sotto::dp
