// A schedule of the spec, cut into pieces of constant noise.
#ifndef SOTTO_SERVER_PLANNING_NOISE_SCHEDULE_H_
#define SOTTO_SERVER_PLANNING_NOISE_SCHEDULE_H_

#include <cstdint>
#include <vector>

#include "common/base/schedule.h"
#include "proto/sotto/v1/spec.pb.h"
#include "server/accounting/calibration.h"

namespace sotto::planning {

// Linear and cosine schedules are run as stairs of so many steps: what is run is what is accounted,
// and each stair costs the accountant 2 ms.
inline constexpr int64_t kSmoothPieces = 32;
// More changes of a stepwise schedule are refused.
inline constexpr int64_t kMostPieces = 256;
// Factors beyond make numbers that no job needs, and that other rules do not expect.
inline constexpr double kLargestFactor = 1e6;

// `total_steps`: those of the job; the last one has the final fraction.
Schedule ScheduleOf(const v1::ScheduleSpec& spec, int64_t total_steps);

// Steps from first_step to the next piece's.
struct SchedulePiece {
  int64_t first_step = 0;
  accounting::NoisePiece noise;  // compositions: steps, or epochs where an epoch is one
};

// The pieces of so many steps, ascending, at least one. Where steps_per_epoch is more than 1,
// pieces begin and end with epochs, the last of which may be cut short; a stepwise schedule's
// every_steps must then be whole epochs. The first piece has factor 1, the last of linear and
// cosine the final fraction.
std::vector<SchedulePiece> CutSchedule(const v1::ScheduleSpec& spec, int64_t steps,
                                       int64_t steps_per_epoch);

// How many pieces a stepwise schedule has over so many steps; 1 for others.
int64_t CountStairs(const v1::ScheduleSpec& spec, int64_t steps);

std::vector<accounting::NoisePiece> NoiseOf(const std::vector<SchedulePiece>& pieces);

}  // namespace sotto::planning

#endif  // SOTTO_SERVER_PLANNING_NOISE_SCHEDULE_H_
