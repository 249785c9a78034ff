// The spec's schedules as numbers over the job's steps.
#ifndef SOTTO_WORKER_PLAN_SCHEDULE_H_
#define SOTTO_WORKER_PLAN_SCHEDULE_H_

#include <cstdint>

#include "common/base/schedule.h"
#include "proto/sotto/v1/spec.pb.h"

namespace sotto {

// `spec` is a ScheduleSpec or a LearningRateSpec: both name the same decays; none is constant.
// `total_steps`: those that the decay runs over.
template <typename Spec>
Schedule ScheduleOf(const Spec& spec, int64_t total_steps) {
  Schedule schedule;
  schedule.total_steps = total_steps;
  if (spec.has_linear()) {
    schedule.shape = Schedule::Shape::kLinear;
    schedule.final_fraction = spec.linear().final_fraction();
  }
  if (spec.has_cosine()) {
    schedule.shape = Schedule::Shape::kCosine;
    schedule.final_fraction = spec.cosine().final_fraction();
  }
  if (spec.has_step()) {
    schedule.shape = Schedule::Shape::kStep;
    schedule.every_steps = spec.step().every_steps();
    schedule.factor = spec.step().factor();
  }
  return schedule;
}

}  // namespace sotto

#endif  // SOTTO_WORKER_PLAN_SCHEDULE_H_
