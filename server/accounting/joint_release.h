// One Gaussian release of several quantities of the same batch.
//
// Scaled by their sensitivities and noises, gradient and metrics are one vector with one Gaussian
// noise, so 1/s_eff^2 = sum_i 1/s_i^2, each s_i the noise stddev over that quantity's own L2
// sensitivity. Exact for fixed clipping bounds.
#ifndef SOTTO_SERVER_ACCOUNTING_JOINT_RELEASE_H_
#define SOTTO_SERVER_ACCOUNTING_JOINT_RELEASE_H_

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace sotto::accounting {

// s_eff of the release of all `multipliers`, each > 0.
double JointNoiseMultiplier(absl::Span<const double> multipliers);

// What is left for the gradient: s_g with 1/s_g^2 = 1/s_eff^2 - sum_i 1/s_i^2, rounded up.
// OUT_OF_RANGE: the metrics alone cost as much as s_eff allows, or more.
absl::StatusOr<double> GradientNoiseMultiplier(double joint_multiplier,
                                               absl::Span<const double> metric_multipliers);

}  // namespace sotto::accounting

#endif  // SOTTO_SERVER_ACCOUNTING_JOINT_RELEASE_H_
