// Static buffers: gathered units and whole gradients, allocated once. Parameters and gradients are
// views of them.
#ifndef SOTTO_WORKER_FSDP_SLOT_POOL_H_
#define SOTTO_WORKER_FSDP_SLOT_POOL_H_

#include <cstdint>
#include <vector>

#include "ATen/core/Tensor.h"
#include "absl/types/span.h"
#include "common/layout/flat_layout.h"
#include "common/layout/model_description.h"

namespace sotto::fsdp {

// What of a unit's flat buffer a slot holds.
enum class Region {
  kWhole,      // trainable and frozen: parameters
  kTrainable,  // gradients; views of frozen parameters are undefined tensors
};

// Slot layout::kRootSlot holds the root and only the root. Zero at first. Externally synchronised.
class SlotPool {
 public:
  // Blocks share `block_slots` slots, each as large as the largest block; slots beyond the number
  // of blocks are not allocated.
  static SlotPool Shared(const layout::ModelDescription& model, const layout::FlatLayout& layout,
                         int block_slots, Region region);

  // Every unit has a slot of its own: block i slot i.
  static SlotPool PerUnit(const layout::ModelDescription& model, const layout::FlatLayout& layout,
                          Region region);

  // The same in the given flat tensors, by unit.
  static SlotPool Over(const layout::ModelDescription& model, const layout::FlatLayout& layout,
                       const std::vector<at::Tensor>& units, Region region);

  // The unit's flat buffer in this slot, padding included: fp32 [whole_elements] or
  // [padded_elements].
  const at::Tensor& Whole(int unit, int slot) const {
    return views_[unit][Index(unit, slot)].whole;
  }

  // Its parameters in the layout's order, each contiguous and of its own shape; padding is in none
  // of them.
  absl::Span<const at::Tensor> Parameters(int unit, int slot) const {
    return views_[unit][Index(unit, slot)].parameters;
  }

 private:
  struct Views {
    at::Tensor whole;
    std::vector<at::Tensor> parameters;
  };

  SlotPool(const layout::ModelDescription& model, const layout::FlatLayout& layout, Region region);

  int64_t ElementsOf(int unit) const;
  void AddPlace(int unit, const at::Tensor& buffer);

  // A unit with one place has it at every slot number that the schedule gives it.
  int Index(int unit, int slot) const { return views_[unit].size() == 1 ? 0 : slot - 1; }

  const layout::ModelDescription& model_;
  const layout::FlatLayout& layout_;
  const Region region_;
  std::vector<std::vector<Views>> views_;  // [unit][index]
};

}  // namespace sotto::fsdp

#endif  // SOTTO_WORKER_FSDP_SLOT_POOL_H_
