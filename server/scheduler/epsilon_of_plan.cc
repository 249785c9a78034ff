#include "server/scheduler/epsilon_of_plan.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "server/accounting/job_epsilon.h"

namespace sotto::scheduler {

JobMachine::EpsilonOf EpsilonOfPlan(const v1::JobPlan& plan) {
  const v1::PrivacyPlan& privacy = plan.privacy();
  if (privacy.not_private()) return [](const ReleasedBefore&, int64_t, int64_t) { return 0.0; };
  accounting::JobMechanism mechanism{
      .sampling_rate = privacy.sampling_rate(),
      .steps_per_epoch = std::max<int64_t>(1, privacy.sampler().steps_per_epoch()),
      .planned_steps = privacy.planned_steps(),
      .delta = privacy.accounting_delta()};
  for (const v1::NoiseSegment& segment : privacy.segments()) {
    mechanism.first_steps.push_back(segment.first_step());
    mechanism.noise_multipliers.push_back(segment.noise_multiplier());
  }
  absl::StatusOr<accounting::JobEpsilon> epsilon = accounting::JobEpsilon::Create(mechanism);
  if (!epsilon.ok()) {
    return [](const ReleasedBefore&, int64_t, int64_t) {
      return std::numeric_limits<double>::infinity();
    };
  }
  // Shared, because a std::function must be copyable.
  const auto shared = std::make_shared<const accounting::JobEpsilon>(*std::move(epsilon));
  return [shared](const ReleasedBefore& before, int64_t first_step, int64_t end_step) {
    std::vector<int64_t> counts =
        shared->compositions().Count(first_step, end_step, before.run_end);
    for (size_t i = 0; i < std::min(counts.size(), before.compositions.size()); ++i) {
      counts[i] += before.compositions[i];
    }
    return shared->At(counts);
  };
}

}  // namespace sotto::scheduler
