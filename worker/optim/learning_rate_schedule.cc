#include "worker/optim/learning_rate_schedule.h"

namespace sotto::optim {

double LearningRateSchedule::At(int64_t step) const {
  if (step < options_.warmup_steps) {
    return options_.peak * static_cast<double>(step + 1) /
           static_cast<double>(options_.warmup_steps + 1);
  }
  return options_.peak * options_.decay.FractionAt(step - options_.warmup_steps);
}

}  // namespace sotto::optim
