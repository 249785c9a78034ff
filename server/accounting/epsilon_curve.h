// Epsilon of a job as a function of the steps it has run.
#ifndef SOTTO_SERVER_ACCOUNTING_EPSILON_CURVE_H_
#define SOTTO_SERVER_ACCOUNTING_EPSILON_CURVE_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "server/accounting/epsilon.h"

namespace sotto::accounting {

// One step of DP-SGD as the accountant sees it.
struct StepMechanism {
  double sampling_rate = 0;     // q, in (0, 1]
  double noise_multiplier = 0;  // sigma of the joint release over its L2 sensitivity, > 0
};

// Every epsilon that a plan states, a job streams or the command line prints comes from here, so
// that they agree to the last bit. Immutable: thread-safe.
class EpsilonCurve {
 public:
  // Orders are the dense ones, and finer ones around the best for `planned_steps`. About 2 ms.
  // `delta` is what the accountant gets (of a job with a batch cap: 0.99 of the job's delta).
  // INVALID_ARGUMENT, naming the value: sampling_rate outside (0, 1], noise_multiplier not finite
  // and positive, planned_steps < 1, delta outside (0, 1).
  static absl::StatusOr<EpsilonCurve> Create(const StepMechanism& step, int64_t planned_steps,
                                             double delta);

  // Guarantee: `steps` steps of the mechanism, decided upon beforehand, are (epsilon, delta)-DP
  // under add-or-remove-one adjacency. 0 for steps <= 0.
  EpsilonBound At(int64_t steps) const;

  // The largest number of steps with At(steps).epsilon <= epsilon; 0: not even one;
  // at most 2^40.
  int64_t StepsWithin(double epsilon) const;

 private:
  EpsilonCurve(std::vector<double> orders, std::vector<double> rdp, double delta);

  std::vector<double> orders_;
  std::vector<double> rdp_;  // of one step
  double delta_;
};

}  // namespace sotto::accounting

#endif  // SOTTO_SERVER_ACCOUNTING_EPSILON_CURVE_H_
