#include "server/planning/model_facts.h"

#include <optional>

#include "common/layout/gradient_mode.h"
#include "server/accounting/adjacency.h"
#include "server/planning/image_models.h"

namespace sotto::planning {

absl::string_view FamilyOf(const v1::ModelSpec& model) {
  if (model.has_gpt2()) return "gpt2";
  if (model.has_llama()) return "llama";
  if (model.has_encoder()) return "encoder";
  if (model.has_mlp()) return "mlp";
  if (model.has_cnn()) return "cnn";
  if (model.has_vit()) return "vit";
  if (model.has_dit()) return "dit";
  return "";
}

int32_t MaxLengthOf(const v1::ModelSpec& model) {
  if (model.has_llama()) return model.llama().max_length();
  if (model.has_encoder()) return model.encoder().max_length();
  if (IsImageModel(model)) return 1;
  return model.gpt2().max_length();
}

int32_t VocabularyOf(const v1::ModelSpec& model) {
  if (model.has_llama()) return model.llama().vocabulary_size();
  if (model.has_encoder()) return model.encoder().vocabulary_size();
  return model.gpt2().vocabulary_size();
}

int32_t OutputsOf(const v1::ModelSpec& model) {
  return model.has_encoder() || IsImageModel(model) ? ClassesOf(model) : VocabularyOf(model);
}

bool UsesClipNorm(const v1::JobSpec& spec) {
  const std::optional<layout::UnitMode> mode = layout::FindMode(spec.gradient().mode());
  return !mode.has_value() || mode->norm != layout::Norm::kNone ||
         spec.privacy().fixed_noise_multiplier() > 0;
}

std::string AdjacencyOf(const v1::DatasetFacts& dataset) {
  return std::string(dataset.adjacency().empty() ? accounting::kAddOrRemoveOne
                                                 : absl::string_view(dataset.adjacency()));
}

}  // namespace sotto::planning
