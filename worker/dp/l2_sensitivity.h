#ifndef SOTTO_WORKER_DP_L2_SENSITIVITY_H_
#define SOTTO_WORKER_DP_L2_SENSITIVITY_H_

namespace sotto::dp {

// How far, in L2 norm over all parameters, adding or removing one example can move a sum of
// clipped gradients. Only the clipping rules make one: noise is scaled by what a rule enforced,
// not by a number from elsewhere. (A rule that replaces an example moves the sum by at most twice
// this.)
class L2Sensitivity {
 public:
  double value() const { return value_; }

 private:
  friend class FlatClipping;
  friend class PerUnitClipping;
  friend class AutomaticClipping;

  explicit L2Sensitivity(double value) : value_(value) {}

  double value_;
};

}  // namespace sotto::dp

#endif  // SOTTO_WORKER_DP_L2_SENSITIVITY_H_
