// Epsilon of a job as a function of the steps it has run.
#ifndef SOTTO_SERVER_ACCOUNTING_EPSILON_CURVE_H_
#define SOTTO_SERVER_ACCOUNTING_EPSILON_CURVE_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
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
  // Of a job whose steps are compositions of several mechanisms, `planned` times each. Orders are
  // the dense ones, and finer ones around the best for `planned`. About 2 ms a segment. `delta` is
  // what the accountant gets (of a job with a batch cap: 0.99 of the job's delta).
  // INVALID_ARGUMENT, naming the value: no segment, or not one `planned` for each; sampling_rate
  // outside (0, 1], noise_multiplier not finite and positive, `planned` not at least 1 together,
  // delta outside (0, 1).
  static absl::StatusOr<EpsilonCurve> Create(absl::Span<const StepMechanism> segments,
                                             absl::Span<const int64_t> planned, double delta);
  // The same of one mechanism.
  static absl::StatusOr<EpsilonCurve> Create(const StepMechanism& step, int64_t planned_steps,
                                             double delta);

  // Guarantee: `compositions` of the segments' mechanisms, decided upon beforehand, are (epsilon,
  // delta)-DP under add-or-remove-one adjacency; with sampling rate 1 under any adjacency whose
  // sensitivity the noise multipliers are relative to. RDP adds up; without sampling the exact
  // composition of Gaussians (gaussian.h) is taken when it is smaller. 0 for no compositions.
  EpsilonBound At(absl::Span<const int64_t> compositions) const;
  // Of the first segment's mechanism.
  EpsilonBound At(int64_t steps) const;

  // The largest number of steps with At(steps).epsilon <= epsilon; 0: not even one;
  // at most 2^40.
  int64_t StepsWithin(double epsilon) const;

 private:
  EpsilonCurve(std::vector<StepMechanism> segments, std::vector<double> orders, double delta);

  void AddOrders(absl::Span<const double> orders);
  EpsilonBound RdpAt(absl::Span<const int64_t> compositions) const;

  std::vector<StepMechanism> segments_;
  std::vector<double> orders_;
  std::vector<std::vector<double>> rdp_;  // of one composition, by segment and order
  double delta_;
};

}  // namespace sotto::accounting

#endif  // SOTTO_SERVER_ACCOUNTING_EPSILON_CURVE_H_
