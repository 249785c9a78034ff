#include "worker/optim/learning_rate_schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace sotto::optim {

double LearningRateSchedule::At(int64_t step) const {
  if (step < options_.warmup_steps) {
    return options_.peak * static_cast<double>(step + 1) /
           static_cast<double>(options_.warmup_steps + 1);
  }
  if (options_.decay == Decay::kConstant) return options_.peak;
  const double span =
      static_cast<double>(std::max<int64_t>(1, options_.total_steps - 1 - options_.warmup_steps));
  const double progress = std::min(1.0, static_cast<double>(step - options_.warmup_steps) / span);
  const double share = 0.5 * (1 + std::cos(std::numbers::pi * progress));
  return options_.peak * (options_.final_fraction + (1 - options_.final_fraction) * share);
}

}  // namespace sotto::optim
