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

// Slot layout::kRootSlot holds the root and only the root; the others hold any block. Zero at
// first. Externally synchronised.
class SlotPool {
 public:
  // `block_slots` beyond the number of blocks are not allocated.
  SlotPool(const layout::ModelDescription& model, const layout::FlatLayout& layout,
           int block_slots);

  // The unit's whole flat buffer in this slot, padding included: fp32 [padded_elements].
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

  // The root has one place; block slots count from 1.
  static int Index(int unit, int slot) { return unit == 0 ? 0 : slot - 1; }

  std::vector<at::Tensor> slots_;
  std::vector<std::vector<Views>> views_;  // [unit][index]
};

}  // namespace sotto::fsdp

#endif  // SOTTO_WORKER_FSDP_SLOT_POOL_H_
