#include "worker/train/initial_weights.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "common/base/status_macros.h"
#include "common/checkpoint/hugging_face_files.h"
#include "worker/checkpoint/hugging_face_slices.h"
#include "worker/fsdp/parameter_slice.h"
#include "worker/train/agreement.h"

namespace sotto::train {
namespace {

absl::Span<float> Values(const at::Tensor& flat) {
  return {flat.data_ptr<float>(), static_cast<size_t>(flat.numel())};
}

bool HasHead(const layout::ModelDescription& model) {
  for (const layout::ParameterDescription& parameter : model.units[0].parameters) {
    if (parameter.name == "lm_head.weight") return true;
  }
  return false;
}

absl::Status CheckOwnFinite(const fsdp::ShardedParameters& parameters) {
  const std::vector<layout::UnitDescription>& units = parameters.model().units;
  for (size_t unit = 0; unit < units.size(); ++unit) {
    for (size_t i = 0; i < units[unit].parameters.size(); ++i) {
      const fsdp::ParameterSlice slice =
          fsdp::SliceOf(parameters, static_cast<int>(unit), static_cast<int>(i));
      const auto found = std::find_if(slice.values.begin(), slice.values.end(),
                                      [](float value) { return !std::isfinite(value); });
      if (found == slice.values.end()) continue;
      return absl::InvalidArgumentError(absl::StrCat("initial weights must be finite, but element ",
                                                     slice.first + (found - slice.values.begin()),
                                                     " of ", units[unit].parameters[i].name, " is ",
                                                     *found));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckFinite(fsdp::ShardedParameters& parameters) {
  return AgreeOnStatus(parameters.communicator(), CheckOwnFinite(parameters));
}

absl::Status FillShards(const checkpoint::HuggingFaceWeights& weights, uint64_t init_seed,
                        fsdp::ShardedParameters& parameters) {
  const layout::FlatLayout& layout = parameters.layout();
  const int shard = parameters.shard_rank();
  for (int unit = 0; unit < layout.num_units(); ++unit) {
    RETURN_IF_ERROR(checkpoint::ReadSlice(weights, parameters.model(), layout, init_seed, unit,
                                          layout.Shard(unit, shard).begin,
                                          Values(parameters.MasterShard(unit))));
    if (layout.unit(unit).frozen.elements == 0) continue;
    RETURN_IF_ERROR(checkpoint::ReadSlice(weights, parameters.model(), layout, init_seed, unit,
                                          layout.FrozenShard(unit, shard).begin,
                                          Values(parameters.FrozenShard(unit))));
  }
  return absl::OkStatus();
}

absl::Status LoadHuggingFace(const std::string& directory, uint64_t init_seed,
                             fsdp::ShardedParameters& parameters) {
  ASSIGN_OR_RETURN(const std::unique_ptr<checkpoint::HuggingFaceFiles> files,
                   checkpoint::HuggingFaceFiles::Open(directory));
  if (!HasHead(parameters.model())) {
    // Each shard looks at its part of the two; whatever one sees, all know.
    ASSIGN_OR_RETURN(const bool own_head, checkpoint::HasOwnHead(*files, parameters.shard_rank(),
                                                                 parameters.grid().shards));
    double own_parts = own_head ? 1 : 0;
    RETURN_IF_ERROR(parameters.communicator().AllReduceSum(absl::MakeSpan(&own_parts, 1)));
    if (own_parts > 0) {
      return absl::InvalidArgumentError(absl::StrCat(
          directory,
          ": tensor lm_head.weight differs from the embedding, but the model ties them; "
          "name the family with untied_head"));
    }
  }
  ASSIGN_OR_RETURN(const checkpoint::HuggingFaceWeights weights,
                   checkpoint::HuggingFaceWeights::Match(*files, parameters.model()));
  return FillShards(weights, init_seed, parameters);
}

}  // namespace sotto::train
