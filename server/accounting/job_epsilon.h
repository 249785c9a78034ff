// Epsilon of a job from what its attempts ran.
#ifndef SOTTO_SERVER_ACCOUNTING_JOB_EPSILON_H_
#define SOTTO_SERVER_ACCOUNTING_JOB_EPSILON_H_

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/accounting/compositions.h"
#include "server/accounting/epsilon_curve.h"

namespace sotto::accounting {

// The privacy of a plan, as the accountant sees it.
struct JobMechanism {
  double sampling_rate = 0;               // 1: without amplification by sampling
  std::vector<int64_t> first_steps;       // of the noise segments, ascending from 0
  std::vector<double> noise_multipliers;  // by segment
  int64_t steps_per_epoch = 1;            // more: an epoch is one composition
  int64_t planned_steps = 0;
  double delta = 0;  // what the accountant gets
};

// Immutable: thread-safe.
class JobEpsilon {
 public:
  // INVALID_ARGUMENT: as Compositions::Create and EpsilonCurve::Create.
  static absl::StatusOr<JobEpsilon> Create(const JobMechanism& mechanism);

  const Compositions& compositions() const { return compositions_; }
  // Of so many compositions by segment: EpsilonCurve::At.
  double At(absl::Span<const int64_t> counts) const { return curve_.At(counts).epsilon; }

 private:
  JobEpsilon(Compositions compositions, EpsilonCurve curve)
      : compositions_(std::move(compositions)), curve_(std::move(curve)) {}

  Compositions compositions_;
  EpsilonCurve curve_;
};

}  // namespace sotto::accounting

#endif  // SOTTO_SERVER_ACCOUNTING_JOB_EPSILON_H_
