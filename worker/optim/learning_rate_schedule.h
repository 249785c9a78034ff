// The learning rate of each step: linear warm-up, then a schedule. Public.
#ifndef SOTTO_WORKER_OPTIM_LEARNING_RATE_SCHEDULE_H_
#define SOTTO_WORKER_OPTIM_LEARNING_RATE_SCHEDULE_H_

#include <cstdint>

#include "common/base/schedule.h"

namespace sotto::optim {

// The learning rate of each step. Thread-safe.
class LearningRateSchedule {
 public:
  struct Options {
    double peak = 0;
    int64_t warmup_steps = 0;  // step s < warmup_steps has rate peak (s + 1) / (warmup_steps + 1)
    Schedule decay;            // of peak, from step warmup_steps on; its steps are those after them
  };

  explicit LearningRateSchedule(Options options) : options_(options) {}

  // `step` from 0.
  double At(int64_t step) const;

 private:
  Options options_;
};

}  // namespace sotto::optim

#endif  // SOTTO_WORKER_OPTIM_LEARNING_RATE_SCHEDULE_H_
