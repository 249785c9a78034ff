#include "worker/fsdp/sharded_parameters.h"

#include <algorithm>

#include "ATen/ops/zeros.h"
#include "absl/strings/str_cat.h"
#include "common/layout/init_values.h"

namespace sotto::fsdp {
namespace {

absl::Span<float> Values(const at::Tensor& flat) {
  return {flat.data_ptr<float>(), static_cast<size_t>(flat.numel())};
}

}  // namespace

absl::StatusOr<std::unique_ptr<ShardedParameters>> ShardedParameters::Create(
    const layout::ModelDescription& model, const layout::FlatLayout& layout,
    comm::Communicator& communicator, const Options& options) {
  if (layout.world_size() != communicator.world_size()) {
    return absl::InvalidArgumentError(absl::StrCat("the layout is for ", layout.world_size(),
                                                   " ranks, but the communicator has ",
                                                   communicator.world_size()));
  }
  return std::unique_ptr<ShardedParameters>(
      new ShardedParameters(model, layout, communicator, options));
}

ShardedParameters::ShardedParameters(const layout::ModelDescription& model,
                                     const layout::FlatLayout& layout,
                                     comm::Communicator& communicator, const Options& options)
    : model_(model),
      layout_(layout),
      communicator_(communicator),
      gathered_(model, layout, options.gathered_slots),
      gradients_(model, layout, options.gradient_slots) {
  for (const layout::UnitLayout& unit : layout.units()) {
    master_shards_.push_back(at::zeros({unit.shard_elements}));
    gradient_shards_.push_back(at::zeros({unit.shard_elements}));
  }
}

void ShardedParameters::Initialize(uint64_t init_seed) {
  for (int unit = 0; unit < layout_.num_units(); ++unit) {
    const layout::UnitLayout& places = layout_.unit(unit);
    const layout::Interval shard = layout_.Shard(unit, communicator_.rank());
    for (size_t i = 0; i < places.parameters.size(); ++i) {
      const layout::Interval parameter = places.parameters[i].interval();
      const int64_t begin = std::max(shard.begin, parameter.begin);
      const int64_t end = std::min(shard.end, parameter.end);
      if (begin >= end) continue;
      layout::FillInitialValues(
          model_.units[unit].parameters[i], init_seed,
          places.first_parameter + static_cast<int64_t>(i), begin - parameter.begin,
          Values(master_shards_[unit]).subspan(begin - shard.begin, end - begin));
    }
  }
}

absl::Status ShardedParameters::Gather(int unit, int slot) {
  return communicator_.AllGather(Values(master_shards_[unit]), Values(gathered_.Whole(unit, slot)));
}

void ShardedParameters::ClearGradient(int unit, int slot) { gradients_.Whole(unit, slot).zero_(); }

absl::Status ShardedParameters::Reduce(int unit, int slot) {
  return communicator_.ReduceScatterAdd(Values(gradients_.Whole(unit, slot)),
                                        Values(gradient_shards_[unit]));
}

void ShardedParameters::ClearGradientShards() {
  for (const at::Tensor& shard : gradient_shards_) shard.zero_();
}

}  // namespace sotto::fsdp
