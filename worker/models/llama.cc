#include "worker/models/llama.h"

#include <memory>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/models/language_head.h"
#include "worker/models/llama_block.h"
#include "worker/models/parameter_finder.h"
#include "worker/models/token_embedding.h"
#include "worker/models/unit_layers.h"

namespace sotto::models {
namespace {

absl::StatusOr<std::unique_ptr<Stage>> MakeBlock(const layout::LlamaDimensions& dimensions,
                                                 const layout::ModelDescription& description,
                                                 int index,
                                                 const std::shared_ptr<RotaryTables>& rotary) {
  const layout::UnitDescription& unit = description.units[index];
  ParameterFinder find(unit);
  const auto linear = [&](const char* name) -> nn::LoraLinear::Options {
    const int weight = find(absl::StrCat(name, ".weight"));
    if (weight == ParameterFinder::kNone) return {};
    return LinearOptions(unit, weight, find.Optional(absl::StrCat(name, ".bias")),
                         nn::Linear::WeightLayout::kOutputInput, description.lora_alpha);
  };
  const auto norm = [&](const char* name) {
    return RmsNormOptions(unit, find(name), dimensions.rms_norm_epsilon);
  };
  const auto head_norm = [&](const char* name) -> std::optional<nn::RmsNorm::Options> {
    if (!dimensions.query_key_norm) return std::nullopt;
    return norm(name);
  };
  const LlamaBlock::Options options = {
      .unit = index,
      .input_norm = norm("input_layernorm.weight"),
      .queries = linear("self_attn.q_proj"),
      .keys = linear("self_attn.k_proj"),
      .values = linear("self_attn.v_proj"),
      .projection = linear("self_attn.o_proj"),
      .attention_norm = norm("post_attention_layernorm.weight"),
      .gate = linear("mlp.gate_proj"),
      .up = linear("mlp.up_proj"),
      .down = linear("mlp.down_proj"),
      .attention = {.heads = dimensions.heads,
                    .key_value_heads = dimensions.key_value_heads,
                    .head_width = dimensions.head_width},
      .query_norm = head_norm("self_attn.q_norm.weight"),
      .key_norm = head_norm("self_attn.k_norm.weight"),
      .activation = ActivationKindOf(dimensions.activation),
      .rotary = rotary,
  };
  RETURN_IF_ERROR(find.status());
  return std::make_unique<LlamaBlock>(options);
}

}  // namespace

absl::StatusOr<StageStack> MakeLlamaStages(const layout::LlamaDimensions& dimensions,
                                           const layout::ModelDescription& description,
                                           const Model::Options& options) {
  const auto tied = dimensions.tied_head ? std::make_shared<TiedState>() : nullptr;
  const auto rotary = std::make_shared<RotaryTables>(dimensions.rotary, dimensions.head_width,
                                                     dimensions.max_length);
  const layout::UnitDescription& root = description.units[0];
  ParameterFinder find(root);
  const nn::EmbeddingOptions tokens = EmbeddingOptionsOf(root, find("embed_tokens.weight"));
  const TokenEmbedding::Options embedding = {.unit = 0, .tokens = tokens, .tied = tied};
  const LanguageHead::Options head = {
      .unit = 0,
      .norm = RmsNormOptions(root, find("norm.weight"), dimensions.rms_norm_epsilon),
      .weight = dimensions.tied_head ? tokens : EmbeddingOptionsOf(root, find("lm_head.weight")),
      .tied = tied,
      .loss_reduction = options.loss_reduction,
      .head_chunk_bytes = options.head_chunk_bytes,
  };
  RETURN_IF_ERROR(find.status());
  return StackStages(
      description, std::make_unique<TokenEmbedding>(embedding),
      [&](int unit) { return MakeBlock(dimensions, description, unit, rotary); },
      std::make_unique<LanguageHead>(head));
}

}  // namespace sotto::models
