#include "tests/equivalence/padding.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/layout/flat_layout.h"

namespace sotto::equivalence {
namespace {

// Elements of the shard that belong to parameters, trainable or frozen ones.
std::vector<bool> UsedOf(const layout::UnitLayout& unit, layout::Interval shard, bool trainable) {
  std::vector<bool> used(shard.size());
  for (const layout::ParameterLayout& parameter : unit.parameters) {
    if (parameter.trainable != trainable) continue;
    const int64_t begin = std::max(shard.begin, parameter.interval().begin);
    const int64_t end = std::min(shard.end, parameter.interval().end);
    for (int64_t i = begin; i < end; ++i) used[i - shard.begin] = true;
  }
  return used;
}

absl::Status Check(absl::string_view what, int unit, const at::Tensor& shard,
                   const std::vector<bool>& used) {
  if (shard.numel() != static_cast<int64_t>(used.size())) {
    return absl::InternalError(absl::StrCat(what, " of unit ", unit, " has ", shard.numel(),
                                            " elements and not ", used.size()));
  }
  for (size_t i = 0; i < used.size(); ++i) {
    if (used[i] || shard.const_data_ptr<float>()[i] == 0) continue;
    return absl::InternalError(
        absl::StrCat(what, " of unit ", unit, " has padding that is not zero, at ", i));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckPaddingIsZero(const fsdp::ShardedParameters& parameters,
                                const std::vector<optim::StateTensor>& state) {
  const layout::FlatLayout& layout = parameters.layout();
  const int rank = parameters.shard_rank();
  for (int unit = 0; unit < layout.num_units(); ++unit) {
    const std::vector<bool> trained =
        UsedOf(layout.unit(unit), layout.Shard(unit, rank), /*trainable=*/true);
    const std::vector<bool> frozen =
        UsedOf(layout.unit(unit), layout.FrozenShard(unit, rank), /*trainable=*/false);
    absl::Status status = Check("master shard", unit, parameters.MasterShard(unit), trained);
    status.Update(Check("frozen shard", unit, parameters.FrozenShard(unit), frozen));
    status.Update(Check("gradient shard", unit, parameters.GradientShard(unit), trained));
    for (const optim::StateTensor& tensor : state) {
      if (tensor.unit == unit) status.Update(Check(tensor.name, unit, tensor.values, trained));
    }
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace sotto::equivalence
