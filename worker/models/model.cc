#include "worker/models/model.h"

#include <utility>
#include <variant>

#include "absl/status/status.h"
#include "common/base/status_macros.h"
#include "worker/models/cnn.h"
#include "worker/models/dit.h"
#include "worker/models/encoder.h"
#include "worker/models/gpt2.h"
#include "worker/models/llama.h"
#include "worker/models/mlp.h"
#include "worker/models/stage_stack.h"
#include "worker/models/vit.h"

namespace sotto::models {
namespace {

absl::StatusOr<StageStack> MakeStages(const layout::ModelDescription& description,
                                      const Model::Options& options) {
  if (const auto* gpt2 = std::get_if<layout::Gpt2Dimensions>(&description.family)) {
    return MakeGpt2Stages(*gpt2, description, options);
  }
  if (const auto* llama = std::get_if<layout::LlamaDimensions>(&description.family)) {
    return MakeLlamaStages(*llama, description, options);
  }
  if (const auto* encoder = std::get_if<layout::EncoderDimensions>(&description.family)) {
    return MakeEncoderStages(*encoder, description);
  }
  if (const auto* mlp = std::get_if<layout::MlpDimensions>(&description.family)) {
    return MakeMlpStages(*mlp, description);
  }
  if (const auto* cnn = std::get_if<layout::CnnDimensions>(&description.family)) {
    return MakeCnnStages(*cnn, description);
  }
  if (const auto* vit = std::get_if<layout::VitDimensions>(&description.family)) {
    return MakeVitStages(*vit, description);
  }
  if (const auto* dit = std::get_if<layout::DitDimensions>(&description.family)) {
    return MakeDitStages(*dit, description);
  }
  return absl::InvalidArgumentError("the description is of no family that has stages");
}

}  // namespace

absl::StatusOr<std::unique_ptr<Model>> Model::Create(const layout::ModelDescription& description,
                                                     const Options& options) {
  ASSIGN_OR_RETURN(StageStack stages, MakeStages(description, options));
  return std::unique_ptr<Model>(new Model(std::move(stages)));
}

void Model::Release() {
  for (const std::unique_ptr<Stage>& stage : stages_) stage->Release();
}

}  // namespace sotto::models
