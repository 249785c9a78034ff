#include "common/layout/flat_layout.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace sotto::layout {
namespace {

int64_t RoundUp(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

absl::Status CheckUnit(const UnitDescription& unit) {
  if (unit.parameters.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("unit ", unit.name, " has no parameters"));
  }
  for (const ParameterDescription& parameter : unit.parameters) {
    for (int64_t extent : parameter.shape) {
      if (extent >= 1) continue;
      return absl::InvalidArgumentError(absl::StrCat("every extent of ", parameter.name,
                                                     " must be positive, but one is ", extent));
    }
  }
  return absl::OkStatus();
}

UnitLayout PlaceUnit(const UnitDescription& description, int world_size) {
  UnitLayout unit;
  int64_t frozen_aligned = 0;
  for (const ParameterDescription& parameter : description.parameters) {
    const int64_t elements = parameter.num_elements();
    int64_t& begin = parameter.trainable ? unit.aligned_elements : frozen_aligned;
    unit.parameters.push_back(
        {.offset = begin, .elements = elements, .trainable = parameter.trainable});
    (parameter.trainable ? unit.elements : unit.frozen.elements) += elements;
    begin += RoundUp(elements, kAlignmentElements);
  }
  unit.padded_elements = RoundUp(unit.aligned_elements, kAlignmentElements * world_size);
  unit.shard_elements = unit.padded_elements / world_size;
  unit.frozen.padded_elements = RoundUp(frozen_aligned, kAlignmentElements * world_size);
  unit.frozen.shard_elements = unit.frozen.padded_elements / world_size;
  for (ParameterLayout& parameter : unit.parameters) {
    if (!parameter.trainable) parameter.offset += unit.padded_elements;
  }
  return unit;
}

// Intersections of the rank's shard with those parameters that `selected` accepts.
template <typename Selected>
std::vector<Interval> Intersections(const UnitLayout& unit, Interval shard, Selected selected) {
  std::vector<Interval> result;
  for (size_t i = 0; i < unit.parameters.size(); ++i) {
    if (!unit.parameters[i].trainable || !selected(i)) continue;
    const Interval parameter = unit.parameters[i].interval();
    const Interval common{std::max(shard.begin, parameter.begin),
                          std::min(shard.end, parameter.end)};
    if (common.begin < common.end)
      result.push_back({common.begin - shard.begin, common.end - shard.begin});
  }
  return result;
}

}  // namespace

absl::StatusOr<FlatLayout> FlatLayout::Create(const ModelDescription& model, int world_size) {
  if (world_size < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("world_size must be positive, but is ", world_size));
  }
  if (model.units.empty()) return absl::InvalidArgumentError("a model must have at least one unit");
  std::vector<UnitLayout> units;
  int64_t next_parameter = 0;
  int64_t canonical_base = 0;
  for (const UnitDescription& description : model.units) {
    if (absl::Status status = CheckUnit(description); !status.ok()) return status;
    UnitLayout unit = PlaceUnit(description, world_size);
    unit.first_parameter = next_parameter;
    unit.canonical_base = canonical_base;
    next_parameter += static_cast<int64_t>(unit.parameters.size());
    canonical_base += unit.aligned_elements;
    units.push_back(std::move(unit));
  }
  return FlatLayout(world_size, std::move(units));
}

FlatLayout::FlatLayout(int world_size, std::vector<UnitLayout> units)
    : world_size_(world_size), units_(std::move(units)) {}

Interval FlatLayout::Shard(int unit, int rank) const {
  const int64_t elements = units_[unit].shard_elements;
  return {rank * elements, (rank + 1) * elements};
}

Interval FlatLayout::FrozenShard(int unit, int rank) const {
  const int64_t elements = units_[unit].frozen.shard_elements;
  const int64_t begin = units_[unit].padded_elements + rank * elements;
  return {begin, begin + elements};
}

std::vector<Interval> FlatLayout::UsedIntervals(int unit, int rank) const {
  return Intersections(units_[unit], Shard(unit, rank), [](size_t) { return true; });
}

std::vector<Interval> FlatLayout::DecayIntervals(const ModelDescription& model, int unit,
                                                 int rank) const {
  const std::vector<ParameterDescription>& parameters = model.units[unit].parameters;
  return Intersections(units_[unit], Shard(unit, rank),
                       [&parameters](size_t i) { return parameters[i].weight_decay; });
}

int64_t FlatLayout::total_elements() const {
  return Sum([](const UnitLayout& unit) { return unit.all_elements(); });
}

int64_t FlatLayout::trainable_elements() const {
  return Sum([](const UnitLayout& unit) { return unit.elements; });
}

int64_t FlatLayout::total_shard_elements() const {
  return Sum([](const UnitLayout& unit) { return unit.shard_elements; });
}

int64_t FlatLayout::total_frozen_shard_elements() const {
  return Sum([](const UnitLayout& unit) { return unit.frozen.shard_elements; });
}

int64_t FlatLayout::Sum(absl::FunctionRef<int64_t(const UnitLayout&)> of) const {
  int64_t sum = 0;
  for (const UnitLayout& unit : units_) sum += of(unit);
  return sum;
}

int64_t FlatLayout::max_block_padded_elements() const {
  int64_t largest = 0;
  for (size_t i = 1; i < units_.size(); ++i) largest = std::max(largest, units_[i].padded_elements);
  return largest;
}

int64_t FlatLayout::max_block_whole_elements() const {
  int64_t largest = 0;
  for (size_t i = 1; i < units_.size(); ++i)
    largest = std::max(largest, units_[i].whole_elements());
  return largest;
}

}  // namespace sotto::layout
