// The memory that a plan means, beside what a training needed.
#ifndef SOTTO_TESTS_EQUIVALENCE_MEMORY_BOUNDS_H_
#define SOTTO_TESTS_EQUIVALENCE_MEMORY_BOUNDS_H_

#include <cstdint>
#include <string>

#include "common/layout/memory.h"
#include "proto/sotto/v1/plan.pb.h"

namespace sotto::equivalence {

// As planning estimates it.
layout::MemoryEstimate EstimateOf(const v1::JobPlan& plan);

// Expects measured <= planned tensors <= 1.05 measured, and prints both.
void ExpectPlanned(const std::string& name, int64_t measured,
                   const layout::MemoryEstimate& estimate);

}  // namespace sotto::equivalence

#endif  // SOTTO_TESTS_EQUIVALENCE_MEMORY_BOUNDS_H_
