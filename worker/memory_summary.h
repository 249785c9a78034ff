// A rank's memory as planned and as measured, in one line of its log.
#ifndef SOTTO_WORKER_MEMORY_SUMMARY_H_
#define SOTTO_WORKER_MEMORY_SUMMARY_H_

#include <cstdint>
#include <string>

#include "proto/sotto/v1/plan.pb.h"

namespace sotto {

struct MeasuredMemory {
  int64_t tensor_peak_bytes = 0;    // worker/memory's mark
  int64_t resident_peak_bytes = 0;  // the operating system's
};

// "memory: " and name=bytes pairs, separated by spaces: planned_* by category, the sums of what
// tensors hold and of everything, then tensor_peak and resident_peak.
std::string MemorySummary(const v1::MemoryPlan& planned, const MeasuredMemory& measured);

}  // namespace sotto

#endif  // SOTTO_WORKER_MEMORY_SUMMARY_H_
