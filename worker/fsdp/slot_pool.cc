#include "worker/fsdp/slot_pool.h"

#include <utility>

#include "ATen/ops/zeros.h"

namespace sotto::fsdp {

SlotPool SlotPool::Allocate(const layout::ModelDescription& model, const layout::FlatLayout& layout,
                            const layout::BlockPlaces& blocks, const layout::SlotLayout& slots,
                            Region region) {
  SlotPool pool(model, layout, region);
  std::vector<at::Tensor> buffers;
  for (int64_t elements : slots.buffers) buffers.push_back(at::zeros({elements}));
  for (int unit = 0; unit < layout.num_units(); ++unit) {
    for (const layout::SlotLayout::Place& place : slots.places[unit]) {
      pool.whole_[unit].push_back(
          buffers[place.buffer].narrow(0, place.offset, pool.ElementsOf(unit)));
    }
  }
  pool.ViewBlocks(blocks);
  return pool;
}

SlotPool SlotPool::Over(const layout::ModelDescription& model, const layout::FlatLayout& layout,
                        const layout::BlockPlaces& blocks, const std::vector<at::Tensor>& units,
                        Region region) {
  SlotPool pool(model, layout, region);
  for (int unit = 0; unit < layout.num_units(); ++unit) {
    pool.whole_[unit].push_back(units[unit].narrow(0, 0, pool.ElementsOf(unit)));
  }
  pool.ViewBlocks(blocks);
  return pool;
}

int64_t SlotPool::ElementsOf(int unit) const {
  return region_ == Region::kWhole ? layout_.unit(unit).whole_elements()
                                   : layout_.unit(unit).padded_elements;
}

// All units of a block have as many places.
void SlotPool::ViewBlocks(const layout::BlockPlaces& blocks) {
  for (size_t block = 0; block < blocks.units.size(); ++block) {
    const size_t places = whole_[blocks.units[block].front()].size();
    std::vector<std::vector<at::Tensor>>& views = parameters_.emplace_back(places);
    for (size_t index = 0; index < places; ++index) {
      for (const layout::ParameterPlace& place : blocks.parameters[block]) {
        views[index].push_back(ViewOf(place, index));
      }
    }
  }
}

at::Tensor SlotPool::ViewOf(const layout::ParameterPlace& place, size_t index) const {
  const layout::ParameterLayout& parameter = layout_.unit(place.unit).parameters[place.index];
  if (region_ == Region::kTrainable && !parameter.trainable) return at::Tensor();
  return whole_[place.unit][index]
      .narrow(0, parameter.offset, parameter.elements)
      .view(model_.units[place.unit].parameters[place.index].shape);
}

}  // namespace sotto::fsdp
