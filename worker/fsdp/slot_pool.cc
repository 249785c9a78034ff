#include "worker/fsdp/slot_pool.h"

#include <algorithm>

#include "ATen/ops/zeros.h"

namespace sotto::fsdp {

SlotPool::SlotPool(const layout::ModelDescription& model, const layout::FlatLayout& layout,
                   Region region)
    : model_(model), layout_(layout), region_(region), views_(layout.num_units()) {}

SlotPool SlotPool::Shared(const layout::ModelDescription& model, const layout::FlatLayout& layout,
                          int block_slots, Region region) {
  SlotPool pool(model, layout, region);
  pool.AddPlace(0, at::zeros({pool.ElementsOf(0)}));
  const int num_blocks = layout.num_units() - 1;
  const int64_t elements = region == Region::kWhole ? layout.max_block_whole_elements()
                                                    : layout.max_block_padded_elements();
  for (int slot = 0; slot < std::min(block_slots, num_blocks); ++slot) {
    const at::Tensor buffer = at::zeros({elements});
    for (int unit = 1; unit < layout.num_units(); ++unit) pool.AddPlace(unit, buffer);
  }
  return pool;
}

SlotPool SlotPool::PerUnit(const layout::ModelDescription& model, const layout::FlatLayout& layout,
                           Region region) {
  SlotPool pool(model, layout, region);
  for (int unit = 0; unit < layout.num_units(); ++unit) {
    pool.AddPlace(unit, at::zeros({pool.ElementsOf(unit)}));
  }
  return pool;
}

SlotPool SlotPool::Over(const layout::ModelDescription& model, const layout::FlatLayout& layout,
                        const std::vector<at::Tensor>& units, Region region) {
  SlotPool pool(model, layout, region);
  for (int unit = 0; unit < layout.num_units(); ++unit) pool.AddPlace(unit, units[unit]);
  return pool;
}

int64_t SlotPool::ElementsOf(int unit) const {
  return region_ == Region::kWhole ? layout_.unit(unit).whole_elements()
                                   : layout_.unit(unit).padded_elements;
}

void SlotPool::AddPlace(int unit, const at::Tensor& buffer) {
  Views views{.whole = buffer.narrow(0, 0, ElementsOf(unit))};
  for (size_t i = 0; i < layout_.unit(unit).parameters.size(); ++i) {
    const layout::ParameterLayout& place = layout_.unit(unit).parameters[i];
    at::Tensor& view = views.parameters.emplace_back();
    if (region_ == Region::kTrainable && !place.trainable) continue;
    view = views.whole.narrow(0, place.offset, place.elements)
               .view(model_.units[unit].parameters[i].shape);
  }
  views_[unit].push_back(std::move(views));
}

}  // namespace sotto::fsdp
