#include "worker/fsdp/sharded_parameters.h"

#include <algorithm>

#include "ATen/ops/zeros.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/layout/init_values.h"

namespace sotto::fsdp {
namespace {

using layout::Strategy;

absl::Span<float> Values(const at::Tensor& flat) {
  return {flat.data_ptr<float>(), static_cast<size_t>(flat.numel())};
}

}  // namespace

absl::StatusOr<std::unique_ptr<ShardedParameters>> ShardedParameters::Create(
    const layout::ModelDescription& model, const layout::FlatLayout& layout,
    comm::Communicator& communicator, const Options& options) {
  const std::optional<layout::RankGrid> grid =
      layout::MakeRankGrid(options.strategy, communicator.world_size(), layout.world_size());
  if (!grid.has_value() || grid->shards != layout.world_size()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the layout is for ", layout.world_size(), " ranks, but the communicator has ",
        communicator.world_size(), ", under ", std::string(StrategyName(options.strategy))));
  }
  Options complete = options;
  if (complete.blocks.units.empty()) complete.blocks = layout::PlacesByBlock(model);
  return std::unique_ptr<ShardedParameters>(
      new ShardedParameters(model, layout, communicator, complete, *grid));
}

ShardedParameters::ShardedParameters(const layout::ModelDescription& model,
                                     const layout::FlatLayout& layout,
                                     comm::Communicator& communicator, const Options& options,
                                     const layout::RankGrid& grid)
    : model_(model),
      layout_(layout),
      communicator_(communicator),
      options_(options),
      grid_(grid),
      shards_(Allocate(layout, options)),
      gathered_(MakePool(layout::GatheredSlots(layout, Slots()), shards_.units, Region::kWhole)) {
  if (!options.has_gradients) return;
  gradients_.emplace(
      MakePool(layout::GradientSlots(layout, Slots()), shards_.gradient, Region::kTrainable));
}

ShardedParameters::Shards ShardedParameters::Allocate(const layout::FlatLayout& layout,
                                                      const Options& options) {
  Shards shards;
  for (const layout::UnitLayout& unit : layout.units()) {
    shards.gradient.push_back(at::zeros({options.has_gradients ? unit.shard_elements : 0}));
    if (options.strategy == Strategy::kNoShard) {
      const at::Tensor& whole = shards.units.emplace_back(at::zeros({unit.whole_elements()}));
      shards.master.push_back(whole.narrow(0, 0, unit.padded_elements));
      shards.frozen.push_back(whole.narrow(0, unit.padded_elements, unit.frozen.padded_elements));
      continue;
    }
    shards.master.push_back(at::zeros({unit.shard_elements}));
    shards.frozen.push_back(at::zeros({unit.frozen.shard_elements}));
  }
  return shards;
}

// Under NO_SHARD the shards are whole, and their own slots.
SlotPool ShardedParameters::MakePool(const layout::SlotLayout& slots,
                                     const std::vector<at::Tensor>& whole_shards,
                                     Region region) const {
  if (options_.strategy == Strategy::kNoShard) {
    return SlotPool::Over(model_, layout_, options_.blocks, whole_shards, region);
  }
  return SlotPool::Allocate(model_, layout_, options_.blocks, slots, region);
}

layout::SlotChoice ShardedParameters::Slots() const {
  return {.strategy = options_.strategy,
          .gathered_slots = options_.gathered_slots,
          .gradient_slots = options_.gradient_slots,
          .kept_gathered = options_.kept_gathered,
          .block_units = options_.blocks.units};
}

comm::RankGroup ShardedParameters::shard_group() const {
  return {.first = replica() * grid_.shards, .size = grid_.shards};
}

comm::RankGroup ShardedParameters::replica_group() const {
  return {.first = shard_rank(), .stride = grid_.shards, .size = grid_.replicas};
}

void ShardedParameters::Initialize(uint64_t init_seed) {
  for (int unit = 0; unit < layout_.num_units(); ++unit) {
    const layout::UnitLayout& places = layout_.unit(unit);
    for (size_t i = 0; i < places.parameters.size(); ++i) {
      if (places.parameters[i].trainable) {
        InitializeParameter(unit, i, layout_.Shard(unit, shard_rank()), shards_.master[unit],
                            init_seed);
      } else {
        InitializeParameter(unit, i, layout_.FrozenShard(unit, shard_rank()), shards_.frozen[unit],
                            init_seed);
      }
    }
  }
}

void ShardedParameters::InitializeParameter(int unit, size_t parameter, layout::Interval shard,
                                            const at::Tensor& values, uint64_t init_seed) {
  const layout::Interval place = layout_.unit(unit).parameters[parameter].interval();
  const int64_t begin = std::max(shard.begin, place.begin);
  const int64_t end = std::min(shard.end, place.end);
  if (begin >= end) return;
  layout::FillInitialValues(model_.units[unit].parameters[parameter], init_seed,
                            layout_.unit(unit).first_parameter + static_cast<int64_t>(parameter),
                            begin - place.begin,
                            Values(values).subspan(begin - shard.begin, end - begin));
}

absl::Status ShardedParameters::Gather(int unit, int slot) {
  if (options_.strategy == Strategy::kNoShard) return absl::OkStatus();
  const layout::UnitLayout& places = layout_.unit(unit);
  const absl::Span<float> whole = Values(gathered_.Whole(unit, slot));
  if (places.has_trainable()) {
    RETURN_IF_ERROR(communicator_.AllGather(shard_group(), Values(shards_.master[unit]),
                                            whole.subspan(0, places.padded_elements)));
  }
  if (places.frozen.elements == 0) return absl::OkStatus();
  return communicator_.AllGather(shard_group(), Values(shards_.frozen[unit]),
                                 whole.subspan(places.padded_elements));
}

void ShardedParameters::ClearGradient(int block, int slot) {
  for (int unit : UnitsOfBlock(block)) gradients_->Whole(unit, slot).zero_();
}

absl::Status ShardedParameters::Reduce(int unit, int slot, bool sums_replicas) {
  const absl::Span<float> shard = Values(shards_.gradient[unit]);
  if (options_.strategy != Strategy::kNoShard) {  // There the slot is the shard.
    RETURN_IF_ERROR(communicator_.ReduceScatterAdd(shard_group(),
                                                   Values(gradients_->Whole(unit, slot)), shard));
  }
  return sums_replicas ? communicator_.AllReduceSum(replica_group(), shard) : absl::OkStatus();
}

void ShardedParameters::ClearGradientShards() {
  for (const at::Tensor& shard : shards_.gradient) shard.zero_();
}

}  // namespace sotto::fsdp
