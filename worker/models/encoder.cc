#include "worker/models/encoder.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/models/classification_head.h"
#include "worker/models/encoder_block.h"
#include "worker/models/parameter_finder.h"
#include "worker/models/token_embedding.h"
#include "worker/models/unit_layers.h"

namespace sotto::models {
namespace {

absl::StatusOr<std::unique_ptr<Stage>> MakeBlock(const layout::EncoderDimensions& dimensions,
                                                 const layout::ModelDescription& description,
                                                 int index) {
  const layout::UnitDescription& unit = description.units[index];
  ParameterFinder find(unit);
  const auto linear = [&](const char* name) -> nn::LoraLinear::Options {
    const int weight = find(absl::StrCat(name, ".weight"));
    if (weight == ParameterFinder::kNone) return {};
    return LinearOptions(unit, weight, nn::Linear::kNoBias, nn::Linear::WeightLayout::kOutputInput,
                         description.lora_alpha);
  };
  const auto norm = [&](const char* name) {
    const int gain = find(absl::StrCat(name, ".weight"));
    const int bias = find(absl::StrCat(name, ".bias"));
    return LayerNormOptions(unit, gain, bias, dimensions.layer_norm_epsilon);
  };
  const EncoderBlock::Options options = {
      .unit = index,
      .norm_1 = norm("norm_1"),
      .projection = linear("attention.qkv"),
      .attention = {.heads = dimensions.heads,
                    .key_value_heads = dimensions.heads,
                    .head_width = dimensions.width / dimensions.heads,
                    .causal = false},
      .output = linear("attention.output"),
      .norm_2 = norm("norm_2"),
      .up = linear("mlp.up"),
      .down = linear("mlp.down"),
  };
  RETURN_IF_ERROR(find.status());
  return std::make_unique<EncoderBlock>(options);
}

}  // namespace

absl::StatusOr<std::vector<std::unique_ptr<Stage>>> MakeEncoderStages(
    const layout::EncoderDimensions& dimensions, const layout::ModelDescription& description) {
  const layout::UnitDescription& root = description.units[0];
  ParameterFinder find(root);
  const TokenEmbedding::Options embedding = {
      .unit = 0,
      .tokens = EmbeddingOptionsOf(root, find("tokens.weight")),
      .positions = EmbeddingOptionsOf(root, find("positions.weight"))};
  const int gain = find("norm.weight");
  const int bias = find("norm.bias");
  const int classifier = find("classifier.weight");
  const ClassificationHead::Options head = {
      .unit = 0,
      .norm = LayerNormOptions(root, gain, bias, dimensions.layer_norm_epsilon),
      .classifier = {.weight = classifier,
                     .weight_layout = nn::Linear::WeightLayout::kOutputInput,
                     .weight_frozen = IsFrozen(root, classifier),
                     .index = LayerIndex(root, classifier)}};
  RETURN_IF_ERROR(find.status());

  std::vector<std::unique_ptr<Stage>> stages;
  stages.push_back(std::make_unique<TokenEmbedding>(embedding));
  for (size_t i = 1; i < description.units.size(); ++i) {
    ASSIGN_OR_RETURN(std::unique_ptr<Stage> block,
                     MakeBlock(dimensions, description, static_cast<int>(i)));
    stages.push_back(std::move(block));
  }
  stages.push_back(std::make_unique<ClassificationHead>(head));
  return stages;
}

}  // namespace sotto::models
