// Where every parameter lies in its unit's flat buffer, and which slice of the buffer a rank owns.
//
//   unit:  | p0 ....|pad| p1 ..|pad| p2 .....|pad| padding to a multiple of world_size x 32
//   elements | shards: |---- rank 0 ----|---- rank 1 ----|---- rank 2 ----|
//
// Offsets do not depend on the world size, so neither does an element's canonical position: the key
// of its noise.
#ifndef SOTTO_COMMON_LAYOUT_FLAT_LAYOUT_H_
#define SOTTO_COMMON_LAYOUT_FLAT_LAYOUT_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "common/layout/model_description.h"

namespace sotto::layout {

// 128 bytes of fp32: what offsets and shards are aligned to.
inline constexpr int64_t kAlignmentElements = 32;

// [begin, end)
struct Interval {
  int64_t begin = 0;
  int64_t end = 0;

  int64_t size() const { return end - begin; }
  friend bool operator==(const Interval&, const Interval&) = default;
};

struct ParameterLayout {
  int64_t offset = 0;    // first element in the unit's flat buffer
  int64_t elements = 0;  // without padding

  Interval interval() const { return {offset, offset + elements}; }
  friend bool operator==(const ParameterLayout&, const ParameterLayout&) = default;
};

struct UnitLayout {
  std::vector<ParameterLayout> parameters;
  int64_t first_parameter = 0;   // canonical index of parameters[0]
  int64_t elements = 0;          // scalars, no padding
  int64_t aligned_elements = 0;  // the same at every world size
  int64_t padded_elements = 0;   // a multiple of world_size x 32
  int64_t shard_elements = 0;    // padded_elements / world_size
  int64_t canonical_base = 0;    // sum of aligned_elements of the units before this one

  friend bool operator==(const UnitLayout&, const UnitLayout&) = default;
};

class FlatLayout {
 public:
  // INVALID_ARGUMENT: world_size < 1, a model without units, a unit without elements, a shape with
  // an extent < 1.
  static absl::StatusOr<FlatLayout> Create(const ModelDescription& model, int world_size);

  int world_size() const { return world_size_; }
  int num_units() const { return static_cast<int>(units_.size()); }
  const std::vector<UnitLayout>& units() const { return units_; }
  const UnitLayout& unit(int index) const { return units_[index]; }

  // What rank owns of the unit, in elements of the flat buffer.
  Interval Shard(int unit, int rank) const;

  // The parts of the rank's shard that hold parameters, relative to the shard's begin, ascending,
  // never empty ones. The rest is padding and stays zero.
  std::vector<Interval> UsedIntervals(int unit, int rank) const;

  // The same for those parameters that decay.
  std::vector<Interval> DecayIntervals(const ModelDescription& model, int unit, int rank) const;

  int64_t total_elements() const;        // scalars of the model
  int64_t total_shard_elements() const;  // what a rank owns, with padding
  int64_t max_block_padded_elements()
      const;  // the largest unit but the root; 0 when there is only the root

 private:
  FlatLayout(int world_size, std::vector<UnitLayout> units);

  int world_size_;
  std::vector<UnitLayout> units_;
};

}  // namespace sotto::layout

#endif  // SOTTO_COMMON_LAYOUT_FLAT_LAYOUT_H_
