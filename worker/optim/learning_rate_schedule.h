// The learning rate of each step: linear warm-up, then constant or cosine decay. Public.
#ifndef SOTTO_WORKER_OPTIM_LEARNING_RATE_SCHEDULE_H_
#define SOTTO_WORKER_OPTIM_LEARNING_RATE_SCHEDULE_H_

#include <cstdint>

namespace sotto::optim {

class LearningRateSchedule {
 public:
  enum class Decay { kConstant, kCosine };

  struct Options {
    double peak = 0;
    int64_t warmup_steps = 0;  // step s < warmup_steps has rate peak (s + 1) / (warmup_steps + 1)
    int64_t total_steps = 0;   // of the job
    Decay decay = Decay::kConstant;
    double final_fraction = 0;  // of peak, at the last step; cosine only
  };

  explicit LearningRateSchedule(Options options) : options_(options) {}

  // Steps beyond the last have the last one's rate.
  double At(int64_t step) const;

 private:
  Options options_;
};

}  // namespace sotto::optim

#endif  // SOTTO_WORKER_OPTIM_LEARNING_RATE_SCHEDULE_H_
