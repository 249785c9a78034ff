#ifndef SOTTO_WORKER_DP_CLIPPING_RULE_H_
#define SOTTO_WORKER_DP_CLIPPING_RULE_H_

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "worker/dp/l2_sensitivity.h"

namespace sotto::dp {

// max(2^-14, cap * 2^-23): the share of the clip norm that is kept free, so that a sum of at most
// `cap` examples, as computed in float32, changes by at most the clip norm when one is removed. The
// bound and its limits stand in docs/privacy.md.
double RoundingMargin(int64_t cap);

// How much of each example's gradient enters the sum. A unit belongs to one group; an example has
// one norm and one factor per group. Immutable and thread-safe.
//
// Guarantee: for every example, finite or not, sum over groups of (factor_g norm_g)^2 <=
// (sensitivity (1 - margin))^2, where norm_g is the computed norm. A caller drops an example with
// a non-finite norm: rules see finite ones.
class ClippingRule {
 public:
  virtual ~ClippingRule() = default;

  virtual L2Sensitivity sensitivity() const = 0;

  // Norms are summed over the units of a group.
  virtual int num_groups() const { return 1; }
  virtual int GroupOf(int /*unit*/) const { return 0; }

  // The factors of one example, by group, from its squared norms (finite, not negative). Rounded
  // towards zero, so that factor times norm never exceeds the group's bound.
  virtual void Factors(absl::Span<const double> norm_sq_G, absl::Span<float> factors_G) const = 0;

  // The same rule with the total clip norm C, thresholds in proportion. INVALID_ARGUMENT: not
  // finite and positive.
  virtual absl::StatusOr<std::shared_ptr<const ClippingRule>> WithClipNorm(
      double clip_norm) const = 0;

 protected:
  // INVALID_ARGUMENT naming `what` unless the value is finite and positive.
  static absl::Status CheckPositive(absl::string_view what, double value);
  // INVALID_ARGUMENT unless 0 <= margin < 1.
  static absl::Status CheckMargin(double margin);
  // value as a float that does not exceed it; at most the largest finite float.
  static float RoundDown(double value);
};

}  // namespace sotto::dp

#endif  // SOTTO_WORKER_DP_CLIPPING_RULE_H_
