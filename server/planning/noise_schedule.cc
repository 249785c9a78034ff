#include "server/planning/noise_schedule.h"

#include <algorithm>

namespace sotto::planning {
namespace {

int64_t RoundedUp(int64_t steps, int64_t unit) { return (steps + unit - 1) / unit; }

}  // namespace

Schedule ScheduleOf(const v1::ScheduleSpec& spec, int64_t total_steps) {
  Schedule schedule;
  schedule.total_steps = total_steps;
  switch (spec.kind_case()) {
    case v1::ScheduleSpec::kLinear:
      schedule.shape = Schedule::Shape::kLinear;
      schedule.final_fraction = spec.linear().final_fraction();
      break;
    case v1::ScheduleSpec::kCosine:
      schedule.shape = Schedule::Shape::kCosine;
      schedule.final_fraction = spec.cosine().final_fraction();
      break;
    case v1::ScheduleSpec::kStep:
      schedule.shape = Schedule::Shape::kStep;
      schedule.every_steps = spec.step().every_steps();
      schedule.factor = spec.step().factor();
      break;
    default:
      break;
  }
  return schedule;
}

std::vector<SchedulePiece> CutSchedule(const v1::ScheduleSpec& spec, int64_t steps,
                                       int64_t steps_per_epoch) {
  const int64_t epochs = RoundedUp(steps, steps_per_epoch);
  std::vector<int64_t> first_epochs = {0};
  std::vector<double> factors = {1};
  if (spec.has_step()) {
    const Schedule schedule = ScheduleOf(spec, steps);
    const int64_t every = spec.step().every_steps() / steps_per_epoch;
    for (int64_t epoch = every; epoch < epochs; epoch += every) {
      first_epochs.push_back(epoch);
      factors.push_back(schedule.FractionAt(epoch * steps_per_epoch));
    }
  } else if (spec.has_linear() || spec.has_cosine()) {
    // Stairs at the same shares of any number of steps, so that their factors stay the same while a
    // number of steps is looked for.
    const int64_t stairs = std::min(kSmoothPieces, epochs);
    const Schedule schedule = ScheduleOf(spec, stairs);
    for (int64_t stair = 1; stair < stairs; ++stair) {
      first_epochs.push_back(epochs * stair / stairs);
      factors.push_back(schedule.FractionAt(stair));
    }
  }
  std::vector<SchedulePiece> pieces;
  for (size_t i = 0; i < factors.size(); ++i) {
    const int64_t end = i + 1 < factors.size() ? first_epochs[i + 1] : epochs;
    pieces.push_back({first_epochs[i] * steps_per_epoch, {factors[i], end - first_epochs[i]}});
  }
  return pieces;
}

int64_t CountStairs(const v1::ScheduleSpec& spec, int64_t steps) {
  return spec.has_step() ? RoundedUp(steps, std::max<int64_t>(1, spec.step().every_steps())) : 1;
}

std::vector<accounting::NoisePiece> NoiseOf(const std::vector<SchedulePiece>& pieces) {
  std::vector<accounting::NoisePiece> noise;
  for (const SchedulePiece& piece : pieces) noise.push_back(piece.noise);
  return noise;
}

}  // namespace sotto::planning
