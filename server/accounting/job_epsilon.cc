#include "server/accounting/job_epsilon.h"

#include "common/base/status_macros.h"

namespace sotto::accounting {

absl::StatusOr<JobEpsilon> JobEpsilon::Create(const JobMechanism& mechanism) {
  ASSIGN_OR_RETURN(Compositions compositions,
                   Compositions::Create(mechanism.first_steps, mechanism.steps_per_epoch));
  std::vector<StepMechanism> segments;
  for (double noise : mechanism.noise_multipliers) {
    segments.push_back({mechanism.sampling_rate, noise});
  }
  if (segments.size() != compositions.num_segments()) {
    return absl::InvalidArgumentError("each noise segment needs one noise multiplier");
  }
  const std::vector<int64_t> planned = compositions.Count(0, mechanism.planned_steps, 0);
  ASSIGN_OR_RETURN(EpsilonCurve curve, EpsilonCurve::Create(segments, planned, mechanism.delta));
  return JobEpsilon(std::move(compositions), std::move(curve));
}

}  // namespace sotto::accounting
