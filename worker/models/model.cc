#include "worker/models/model.h"

#include <utility>
#include <variant>

#include "common/base/status_macros.h"
#include "worker/models/gpt2.h"

namespace sotto::models {

absl::StatusOr<std::unique_ptr<Model>> Model::Create(const layout::ModelDescription& description,
                                                     const Options& options) {
  ASSIGN_OR_RETURN(
      std::vector<std::unique_ptr<Stage>> stages,
      MakeGpt2Stages(std::get<layout::Gpt2Dimensions>(description.family), description, options));
  return std::unique_ptr<Model>(new Model(std::move(stages)));
}

void Model::Release() {
  for (const std::unique_ptr<Stage>& stage : stages_) stage->Release();
}

}  // namespace sotto::models
