#include "server/scheduler/policy.h"

#include <algorithm>
#include <cmath>

namespace sotto::scheduler {

absl::Duration Backoff(const Policy& policy, int restarts) {
  absl::Duration backoff = policy.first_backoff;
  for (int i = 1; i < restarts && backoff < policy.max_backoff; ++i) backoff *= 2;
  return std::min(backoff, policy.max_backoff);
}

int64_t GrantSteps(const Policy& policy, const v1::TrainPlan& train, double seconds_per_step,
                   int64_t first_step) {
  double steps = static_cast<double>(train.steps_per_grant());
  if (std::isfinite(seconds_per_step) && seconds_per_step > 0) {
    steps = absl::ToDoubleSeconds(policy.grant_length) / seconds_per_step;
  }
  const double most = static_cast<double>(std::min<int64_t>(
      std::max<int64_t>(train.checkpoint_every_steps() / 2, 1), train.steps() - first_step));
  return static_cast<int64_t>(std::max(1.0, std::min(steps, most)));
}

}  // namespace sotto::scheduler
