// The static buffers in which whole units and their gradients appear for a while.
#ifndef SOTTO_COMMON_LAYOUT_SLOT_LAYOUT_H_
#define SOTTO_COMMON_LAYOUT_SLOT_LAYOUT_H_

#include <cstdint>
#include <vector>

#include "common/layout/flat_layout.h"
#include "common/layout/strategy.h"

namespace sotto::layout {

// As in ScheduleOptions, whose slot numbers these are.
struct SlotChoice {
  Strategy strategy = Strategy::kFullShard;
  int gathered_slots = 2;
  int gradient_slots = 2;
  std::vector<bool> kept_gathered;            // by unit; empty: none
  std::vector<std::vector<int>> block_units;  // by block; empty: every block is its unit
};

struct SlotLayout {
  struct Place {
    int buffer = 0;
    int64_t offset = 0;  // elements
  };
  std::vector<int64_t> buffers;  // fp32 elements of each
  // By unit: its one place, whatever the slot's number, or its place in each shared slot (slot 1
  // first).
  std::vector<std::vector<Place>> places;

  int64_t total_elements() const;
};

// Whole units: trainable and frozen regions. No buffers under NO_SHARD, where shards are whole.
SlotLayout GatheredSlots(const FlatLayout& units, const SlotChoice& choice);

// Trainable regions. The same.
SlotLayout GradientSlots(const FlatLayout& units, const SlotChoice& choice);

}  // namespace sotto::layout

#endif  // SOTTO_COMMON_LAYOUT_SLOT_LAYOUT_H_
