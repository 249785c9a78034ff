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
#include "common/layout/slot_layout.h"
#include "common/layout/wrapping.h"

namespace sotto::fsdp {

// What of a unit's flat buffer a slot holds.
enum class Region {
  kWhole,      // trainable and frozen: parameters
  kTrainable,  // gradients; views of frozen parameters are undefined tensors
};

// Zero at first. Externally synchronised.
class SlotPool {
 public:
  // Allocates the buffers of `slots`. `model` and `layout` are of units; `blocks` says where a
  // block's parameters are among them.
  static SlotPool Allocate(const layout::ModelDescription& model, const layout::FlatLayout& layout,
                           const layout::BlockPlaces& blocks, const layout::SlotLayout& slots,
                           Region region);

  // Every unit has one place, the given flat tensor.
  static SlotPool Over(const layout::ModelDescription& model, const layout::FlatLayout& layout,
                       const layout::BlockPlaces& blocks, const std::vector<at::Tensor>& units,
                       Region region);

  // The unit's flat buffer in this slot, padding included: fp32 [whole_elements] or
  // [padded_elements].
  const at::Tensor& Whole(int unit, int slot) const {
    return whole_[unit][Index(whole_[unit].size(), slot)];
  }

  // The block's parameters in its order, each contiguous and of its own shape; padding is in none
  // of them.
  absl::Span<const at::Tensor> Parameters(int block, int slot) const {
    return parameters_[block][Index(parameters_[block].size(), slot)];
  }

 private:
  SlotPool(const layout::ModelDescription& model, const layout::FlatLayout& layout, Region region)
      : model_(model), layout_(layout), region_(region), whole_(layout.num_units()) {}

  int64_t ElementsOf(int unit) const;
  void ViewBlocks(const layout::BlockPlaces& blocks);
  at::Tensor ViewOf(const layout::ParameterPlace& place, size_t index) const;

  // What has one place has it at every slot number that the schedule gives it.
  static size_t Index(size_t places, int slot) {
    return places == 1 ? 0 : static_cast<size_t>(slot) - 1;
  }

  const layout::ModelDescription& model_;
  const layout::FlatLayout& layout_;
  const Region region_;
  std::vector<std::vector<at::Tensor>> whole_;                    // [unit][index]
  std::vector<std::vector<std::vector<at::Tensor>>> parameters_;  // [block][index]
};

}  // namespace sotto::fsdp

#endif  // SOTTO_WORKER_FSDP_SLOT_POOL_H_
