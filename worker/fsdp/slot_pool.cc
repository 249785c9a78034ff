#include "worker/fsdp/slot_pool.h"

#include <algorithm>

#include "ATen/ops/zeros.h"

namespace sotto::fsdp {

SlotPool::SlotPool(const layout::ModelDescription& model, const layout::FlatLayout& layout,
                   int block_slots)
    : views_(layout.num_units()) {
  const int num_blocks = layout.num_units() - 1;
  slots_.push_back(at::zeros({layout.unit(0).padded_elements}));
  for (int slot = 0; slot < std::min(block_slots, num_blocks); ++slot) {
    slots_.push_back(at::zeros({layout.max_block_padded_elements()}));
  }
  for (int unit = 0; unit < layout.num_units(); ++unit) {
    const size_t first = unit == 0 ? 0 : 1;
    const size_t end = unit == 0 ? 1 : slots_.size();
    for (size_t slot = first; slot < end; ++slot) {
      Views views{.whole = slots_[slot].narrow(0, 0, layout.unit(unit).padded_elements)};
      for (size_t i = 0; i < layout.unit(unit).parameters.size(); ++i) {
        const layout::ParameterLayout& place = layout.unit(unit).parameters[i];
        views.parameters.push_back(views.whole.narrow(0, place.offset, place.elements)
                                       .view(model.units[unit].parameters[i].shape));
      }
      views_[unit].push_back(std::move(views));
    }
  }
}

}  // namespace sotto::fsdp
