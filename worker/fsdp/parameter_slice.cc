#include "worker/fsdp/parameter_slice.h"

#include <algorithm>
#include <cstddef>

namespace sotto::fsdp {

ParameterSlice SliceOf(const ShardedParameters& parameters, int unit, int parameter) {
  const layout::FlatLayout& layout = parameters.layout();
  const layout::ParameterLayout& place = layout.unit(unit).parameters[parameter];
  const layout::Interval shard = place.trainable
                                     ? layout.Shard(unit, parameters.shard_rank())
                                     : layout.FrozenShard(unit, parameters.shard_rank());
  const int64_t begin = std::max(shard.begin, place.interval().begin);
  const int64_t end = std::min(shard.end, place.interval().end);
  if (begin >= end) return {};
  const at::Tensor& values =
      place.trainable ? parameters.MasterShard(unit) : parameters.FrozenShard(unit);
  return {.first = begin - place.offset,
          .values = {values.data_ptr<float>() + (begin - shard.begin),
                     static_cast<size_t>(end - begin)}};
}

}  // namespace sotto::fsdp
