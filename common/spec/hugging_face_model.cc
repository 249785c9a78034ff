#include "common/spec/hugging_face_model.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/spec/hugging_face_config.h"
#include "common/spec/model_dimensions.h"

namespace sotto::spec {

absl::Status CompleteModel(v1::ModelSpec& model) {
  if (model.hugging_face_directory().empty() ||
      model.family_case() != v1::ModelSpec::FAMILY_NOT_SET) {
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const std::string json,
                   ReadFile(absl::StrCat(model.hugging_face_directory(), "/config.json")));
  const absl::StatusOr<HuggingFaceDimensions> dimensions = ParseHuggingFaceConfig(json);
  if (!dimensions.ok()) {
    return absl::Status(
        dimensions.status().code(),
        absl::StrCat(model.hugging_face_directory(), ": ", dimensions.status().message()));
  }
  if (const auto* gpt2 = std::get_if<layout::Gpt2Dimensions>(&*dimensions)) {
    *model.mutable_gpt2() = MessageOf(*gpt2);
  } else {
    *model.mutable_llama() = MessageOf(std::get<layout::LlamaDimensions>(*dimensions));
  }
  return absl::OkStatus();
}

}  // namespace sotto::spec
