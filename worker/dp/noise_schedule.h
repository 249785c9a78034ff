// How much noise each step gets.
#ifndef SOTTO_WORKER_DP_NOISE_SCHEDULE_H_
#define SOTTO_WORKER_DP_NOISE_SCHEDULE_H_

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace sotto::dp {

// Noise over the sensitivity of each part of the joint release, from `first_step` to the next
// segment's; 0 adds none (jobs that promise nothing).
struct NoiseSegment {
  int64_t first_step = 0;
  double gradient_multiplier = 0;
  double loss_multiplier = 0;           // sensitivity: max_loss
  double clip_fraction_multiplier = 0;  // sensitivity: 1
  double accuracy_multiplier = 0;       // sensitivity: 1; 0: no accuracy is released
};

// The segments that the accountant composed. Immutable and thread-safe.
class NoiseSchedule {
 public:
  // INVALID_ARGUMENT: none, the first not at step 0, first steps that do not ascend, a multiplier
  // that is negative or not finite.
  static absl::StatusOr<NoiseSchedule> Create(std::vector<NoiseSegment> segments);

  // Of the segment that `step` lies in; step >= 0.
  const NoiseSegment& At(int64_t step) const;

 private:
  explicit NoiseSchedule(std::vector<NoiseSegment> segments) : segments_(std::move(segments)) {}

  std::vector<NoiseSegment> segments_;
};

}  // namespace sotto::dp

#endif  // SOTTO_WORKER_DP_NOISE_SCHEDULE_H_
