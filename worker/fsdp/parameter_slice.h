// What of a parameter lies on a rank.
#ifndef SOTTO_WORKER_FSDP_PARAMETER_SLICE_H_
#define SOTTO_WORKER_FSDP_PARAMETER_SLICE_H_

#include <cstdint>

#include "absl/types/span.h"
#include "worker/fsdp/sharded_parameters.h"

namespace sotto::fsdp {

// The part of a parameter that this rank's shards hold.
struct ParameterSlice {
  int64_t first = 0;  // element of the parameter, row-major
  absl::Span<float> values;
};

// Empty where another rank holds all of it.
ParameterSlice SliceOf(const ShardedParameters& parameters, int unit, int parameter);

}  // namespace sotto::fsdp

#endif  // SOTTO_WORKER_FSDP_PARAMETER_SLICE_H_
