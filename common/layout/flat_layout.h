// Where every parameter lies in its unit's flat buffer, and which slices of the buffer a rank owns.
//
//   unit:    | p0 ....|pad| p1 ..|pad| p2 .....|pad|pad to world_size x 32 || f0 ..|pad| f1 ...|pad
//   | shards:  |---- rank 0 ----|---- rank 1 ----|---- rank 2 ----||- rank 0 -|- rank 1 -|- rank 2
//   -|
//             trainable region                                    frozen region
//
// Gradients, noise and optimizer state exist for the trainable region only. Offsets in the
// trainable region do not depend on the world size, so neither does an element's canonical
// position: the key of its noise.
#ifndef SOTTO_COMMON_LAYOUT_FLAT_LAYOUT_H_
#define SOTTO_COMMON_LAYOUT_FLAT_LAYOUT_H_

#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
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
  // First element in the unit's flat buffer. A frozen one's begins behind the trainable region.
  int64_t offset = 0;
  int64_t elements = 0;  // without padding
  bool trainable = true;

  Interval interval() const { return {offset, offset + elements}; }
  friend bool operator==(const ParameterLayout&, const ParameterLayout&) = default;
};

// The frozen region of a unit; all zero when nothing is frozen.
struct FrozenRegion {
  int64_t elements = 0;         // scalars, no padding
  int64_t padded_elements = 0;  // a multiple of world_size x 32
  int64_t shard_elements = 0;   // padded_elements / world_size

  friend bool operator==(const FrozenRegion&, const FrozenRegion&) = default;
};

// Members that do not say otherwise are of the trainable region.
struct UnitLayout {
  std::vector<ParameterLayout> parameters;  // all, in the description's order
  int64_t first_parameter = 0;              // canonical index of parameters[0]
  int64_t elements = 0;                     // scalars, no padding
  int64_t aligned_elements = 0;             // the same at every world size
  int64_t padded_elements = 0;              // a multiple of world_size x 32
  int64_t shard_elements = 0;               // padded_elements / world_size
  int64_t canonical_base = 0;               // sum of aligned_elements of the units before this one
  FrozenRegion frozen;

  bool has_trainable() const { return elements > 0; }
  int64_t all_elements() const { return elements + frozen.elements; }
  // Of the flat buffer: both regions.
  int64_t whole_elements() const { return padded_elements + frozen.padded_elements; }

  friend bool operator==(const UnitLayout&, const UnitLayout&) = default;
};

class FlatLayout {
 public:
  // `world_size` is that of the shard group (strategy.h's RankGrid::shards).
  // INVALID_ARGUMENT: world_size < 1, a model without units, a unit without elements, a shape with
  // an extent < 1.
  static absl::StatusOr<FlatLayout> Create(const ModelDescription& model, int world_size);

  int world_size() const { return world_size_; }
  int num_units() const { return static_cast<int>(units_.size()); }
  const std::vector<UnitLayout>& units() const { return units_; }
  const UnitLayout& unit(int index) const { return units_[index]; }

  // What rank owns of the unit's trainable region, in elements of the flat buffer.
  Interval Shard(int unit, int rank) const;

  // What it owns of the frozen region, in elements of the flat buffer.
  Interval FrozenShard(int unit, int rank) const;

  // The parts of the rank's trainable shard that hold parameters, relative to the shard's begin,
  // ascending, never empty ones. The rest is padding and stays zero.
  std::vector<Interval> UsedIntervals(int unit, int rank) const;

  // The same for those parameters that decay.
  std::vector<Interval> DecayIntervals(const ModelDescription& model, int unit, int rank) const;

  int64_t total_elements() const;      // scalars of the model, frozen ones included
  int64_t trainable_elements() const;  // scalars that get gradient and noise
  // What a rank owns, with padding.
  int64_t total_shard_elements() const;
  int64_t total_frozen_shard_elements() const;
  // Of the largest unit but the root; 0 when there is only the root.
  int64_t max_block_padded_elements() const;
  int64_t max_block_whole_elements() const;

 private:
  FlatLayout(int world_size, std::vector<UnitLayout> units);

  int64_t Sum(absl::FunctionRef<int64_t(const UnitLayout&)> of) const;

  int world_size_;
  std::vector<UnitLayout> units_;
};

}  // namespace sotto::layout

#endif  // SOTTO_COMMON_LAYOUT_FLAT_LAYOUT_H_
