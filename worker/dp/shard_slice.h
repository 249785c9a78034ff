// A rank's piece of one unit's flat buffer, with what noise needs to know of it.
#ifndef SOTTO_WORKER_DP_SHARD_SLICE_H_
#define SOTTO_WORKER_DP_SHARD_SLICE_H_

#include <cstdint>
#include <vector>

#include "ATen/core/Tensor.h"

namespace sotto::dp {

// Elements [begin, end).
struct Interval {
  int64_t begin = 0;
  int64_t end = 0;

  friend bool operator==(const Interval&, const Interval&) = default;
};

// `values` is borrowed storage (a flat, contiguous fp32 tensor shares it): the shard of one unit
// that this rank owns.
struct ShardSlice {
  at::Tensor values;
  // Canonical position of values[0]: base of the unit + offset in the unit; a multiple of 32. The
  // same element has the same position at every world size.
  int64_t canonical_base = 0;
  // Ascending, disjoint, relative to values[0]: the elements that are parameters. The rest is
  // padding: zero, and never given noise.
  std::vector<Interval> used;
};

}  // namespace sotto::dp

#endif  // SOTTO_WORKER_DP_SHARD_SLICE_H_
