#include "common/layout/slot_layout.h"

#include <algorithm>
#include <numeric>

#include "absl/functional/function_ref.h"

namespace sotto::layout {
namespace {

using ElementsOf = absl::FunctionRef<int64_t(const UnitLayout&)>;

// Units of each slot's occupant, the root's first.
std::vector<std::vector<int>> BundlesOf(const FlatLayout& units, const SlotChoice& choice) {
  std::vector<std::vector<int>> bundles;
  if (choice.block_units.empty()) {
    for (int unit = 0; unit < units.num_units(); ++unit) bundles.push_back({unit});
    return bundles;
  }
  for (const std::vector<int>& block : choice.block_units) {
    if (bundles.empty() || bundles.back() != block) bundles.push_back(block);
  }
  return bundles;
}

int64_t SizeOf(const std::vector<int>& bundle, const FlatLayout& units, ElementsOf elements) {
  int64_t size = 0;
  for (int unit : bundle) size += elements(units.unit(unit));
  return size;
}

// Puts the bundle's units side by side into a buffer.
void Place(const std::vector<int>& bundle, int buffer, const FlatLayout& units, ElementsOf elements,
           SlotLayout& slots) {
  int64_t offset = 0;
  for (int unit : bundle) {
    slots.places[unit].push_back({.buffer = buffer, .offset = offset});
    offset += elements(units.unit(unit));
  }
}

// The root and bundles that `own` says have a buffer of their own; the others share
// `shared_slots`, as large as the largest of them.
SlotLayout Layout(const FlatLayout& units, const std::vector<std::vector<int>>& bundles,
                  int shared_slots, absl::FunctionRef<bool(const std::vector<int>&)> own,
                  ElementsOf elements) {
  SlotLayout slots;
  slots.places.resize(units.num_units());
  std::vector<const std::vector<int>*> sharing;
  int64_t largest = 0;
  for (const std::vector<int>& bundle : bundles) {
    const int64_t size = SizeOf(bundle, units, elements);
    if (bundle.front() != 0 && !own(bundle)) {
      sharing.push_back(&bundle);
      largest = std::max(largest, size);
      continue;
    }
    slots.buffers.push_back(size);
    Place(bundle, static_cast<int>(slots.buffers.size()) - 1, units, elements, slots);
  }
  for (int slot = 0; slot < std::min<int>(shared_slots, static_cast<int>(sharing.size())); ++slot) {
    slots.buffers.push_back(largest);
    for (const std::vector<int>* bundle : sharing) {
      Place(*bundle, static_cast<int>(slots.buffers.size()) - 1, units, elements, slots);
    }
  }
  return slots;
}

}  // namespace

int64_t SlotLayout::total_elements() const {
  return std::accumulate(buffers.begin(), buffers.end(), int64_t{0});
}

SlotLayout GatheredSlots(const FlatLayout& units, const SlotChoice& choice) {
  if (choice.strategy == Strategy::kNoShard) return {};
  const auto own = [&](const std::vector<int>& bundle) {
    return choice.strategy == Strategy::kShardGradOp ||
           (!choice.kept_gathered.empty() && choice.kept_gathered[bundle.front()]);
  };
  return Layout(units, BundlesOf(units, choice), choice.gathered_slots, own,
                [](const UnitLayout& unit) { return unit.whole_elements(); });
}

SlotLayout GradientSlots(const FlatLayout& units, const SlotChoice& choice) {
  if (choice.strategy == Strategy::kNoShard) return {};
  const auto own = [&](const std::vector<int>&) {
    return choice.strategy == Strategy::kShardGradOp;
  };
  return Layout(units, BundlesOf(units, choice), choice.gradient_slots, own,
                [](const UnitLayout& unit) { return unit.padded_elements; });
}

}  // namespace sotto::layout
