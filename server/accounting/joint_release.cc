#include "server/accounting/joint_release.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace sotto::accounting {

double JointNoiseMultiplier(absl::Span<const double> multipliers) {
  double precision = 0;
  for (double multiplier : multipliers) precision += 1 / (multiplier * multiplier);
  return 1 / std::sqrt(precision);
}

absl::StatusOr<double> GradientNoiseMultiplier(double joint_multiplier,
                                               absl::Span<const double> metric_multipliers) {
  double precision = 1 / (joint_multiplier * joint_multiplier);
  for (double multiplier : metric_multipliers) precision -= 1 / (multiplier * multiplier);
  if (!(precision > 0)) {
    return absl::OutOfRangeError(absl::StrCat(
        "the metrics alone, at noise multipliers ", absl::StrJoin(metric_multipliers, ", "),
        ", cost more than a joint noise multiplier of ", joint_multiplier, " allows"));
  }
  constexpr double kRoundUp = 1 + 1e-12;
  return kRoundUp / std::sqrt(precision);
}

}  // namespace sotto::accounting
