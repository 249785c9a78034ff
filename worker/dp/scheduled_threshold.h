#ifndef SOTTO_WORKER_DP_SCHEDULED_THRESHOLD_H_
#define SOTTO_WORKER_DP_SCHEDULED_THRESHOLD_H_

#include <cstdint>

#include "common/base/schedule.h"
#include "worker/dp/clip_threshold.h"

namespace sotto::dp {

// Known before the job begins. Noise is scaled by each step's C, so the accounting is that of a
// constant one.
class ScheduledThreshold final : public ClipThreshold {
 public:
  ScheduledThreshold(double clip_norm, const Schedule& schedule)
      : clip_norm_(clip_norm), schedule_(schedule) {}

  double At(int64_t step) const override { return clip_norm_ * schedule_.FractionAt(step); }

 private:
  const double clip_norm_;
  const Schedule schedule_;
};

}  // namespace sotto::dp

#endif  // SOTTO_WORKER_DP_SCHEDULED_THRESHOLD_H_
