#include "worker/infer/sharded_model.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/layout/schedule_options.h"
#include "worker/fsdp/parameter_slice.h"

namespace sotto::infer {
namespace {

// Where a checkpoint has a tensor.
struct Place {
  const std::string* unit;
  const v1::CheckpointTensor* tensor;
};

std::map<std::string, Place> PlacesOf(const checkpoint::Checkpoint& checkpoint) {
  std::map<std::string, Place> places;
  for (const v1::CheckpointUnit& unit : checkpoint.manifest().units()) {
    for (const v1::CheckpointTensor& tensor : unit.tensors()) {
      places[tensor.name()] = {.unit = &unit.name(), .tensor = &tensor};
    }
  }
  return places;
}

bool HasShape(const v1::CheckpointTensor& tensor, const std::vector<int64_t>& shape) {
  return std::equal(tensor.shape().begin(), tensor.shape().end(), shape.begin(), shape.end());
}

}  // namespace

absl::StatusOr<std::unique_ptr<ShardedModel>> ShardedModel::Create(
    Options options, comm::Communicator& communicator) {
  const std::optional<layout::RankGrid> grid =
      layout::MakeRankGrid(options.strategy, communicator.world_size(), options.shard_group_size);
  if (!grid.has_value()) {
    return absl::InvalidArgumentError(absl::StrCat(
        communicator.world_size(), " ranks make no groups of ", options.shard_group_size));
  }
  ASSIGN_OR_RETURN(layout::FlatLayout layout,
                   layout::FlatLayout::Create(options.description, grid->shards));
  std::unique_ptr<ShardedModel> model(
      new ShardedModel(std::move(options.description), std::move(layout)));
  ASSIGN_OR_RETURN(model->model_, models::Model::Create(model->description_, {}));
  const layout::ScheduleChoice choice{
      .strategy = options.strategy, .gathered_slots = options.gathered_slots, .gradient_slots = 1};
  ASSIGN_OR_RETURN(model->parameters_, fsdp::ShardedParameters::Create(
                                           model->description_, model->layout_, communicator,
                                           {.gathered_slots = choice.gathered_slots,
                                            .gradient_slots = choice.gradient_slots,
                                            .strategy = choice.strategy,
                                            .has_gradients = false}));
  model->forward_ =
      std::make_unique<ForwardPass>(layout::MakeScheduleOptions(model->description_, choice),
                                    *model->model_, *model->parameters_);
  return model;
}

absl::Status ShardedModel::Fill(const checkpoint::Checkpoint& checkpoint) {
  const std::map<std::string, Place> places = PlacesOf(checkpoint);
  for (int unit = 0; unit < layout_.num_units(); ++unit) {
    const std::vector<layout::ParameterDescription>& parameters =
        description_.units[unit].parameters;
    for (size_t i = 0; i < parameters.size(); ++i) {
      const auto place = places.find(parameters[i].name);
      if (place == places.end() || !HasShape(*place->second.tensor, parameters[i].shape)) {
        return absl::FailedPreconditionError(absl::StrCat(
            checkpoint.directory(), ": tensor ", parameters[i].name,
            place == places.end() ? " is missing" : " has not the shape that the model gives it"));
      }
      const fsdp::ParameterSlice slice = fsdp::SliceOf(*parameters_, unit, static_cast<int>(i));
      if (slice.values.empty()) continue;
      RETURN_IF_ERROR(checkpoint.Read(*place->second.unit, "master",
                                      place->second.tensor->offset() + slice.first, slice.values));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<absl::Span<const float>> GatherParameter(fsdp::ShardedParameters& parameters,
                                                        int unit, int parameter) {
  const int slot = layout::HasSlotPerUnit(parameters.strategy()) ? unit : std::min(unit, 1);
  RETURN_IF_ERROR(parameters.Gather(unit, slot));
  const at::Tensor& values = parameters.ParameterViews(unit, slot)[parameter];
  return absl::Span<const float>(values.const_data_ptr<float>(), values.numel());
}

absl::StatusOr<int64_t> MaxLengthOf(const layout::ModelDescription& description) {
  if (const auto* gpt2 = std::get_if<layout::Gpt2Dimensions>(&description.family)) {
    return gpt2->max_length;
  }
  if (const auto* llama = std::get_if<layout::LlamaDimensions>(&description.family)) {
    return llama->max_length;
  }
  return absl::InvalidArgumentError(
      "model must be a language model (gpt2 or llama): encoders and models of images have no "
      "next token to generate or score and no residual stream of tokens to capture");
}

}  // namespace sotto::infer
