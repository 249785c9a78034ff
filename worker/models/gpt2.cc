#include "worker/models/gpt2.h"

#include <cmath>
#include <memory>

#include "common/base/status_macros.h"
#include "worker/models/gpt2_block.h"
#include "worker/models/language_head.h"
#include "worker/models/parameter_finder.h"
#include "worker/models/token_embedding.h"
#include "worker/models/unit_layers.h"

namespace sotto::models {
namespace {

// `index`: the block's number, from 1.
Gpt2Block::Options OptionsOf(const layout::Gpt2Dimensions& dimensions, double lora_alpha,
                             int index) {
  double scale = 1;
  if (dimensions.scale_attention) {
    scale /= std::sqrt(static_cast<double>(dimensions.width / dimensions.heads));
  }
  if (dimensions.scale_attention_by_layer) scale /= index;
  return {.heads = dimensions.heads,
          .attention_scale = scale,
          .activation = ActivationKindOf(dimensions.activation),
          .layer_norm_epsilon = dimensions.layer_norm_epsilon,
          .lora_alpha = lora_alpha};
}

absl::StatusOr<std::unique_ptr<Stage>> MakeBlock(const layout::Gpt2Dimensions& dimensions,
                                                 const layout::ModelDescription& description,
                                                 int index) {
  const layout::UnitDescription& unit = description.units[index];
  ParameterFinder find(unit);
  const Gpt2Block::Parameters parameters = {
      .ln_1_gain = find("ln_1.weight"),
      .ln_1_bias = find("ln_1.bias"),
      .attention_weight = find("attn.c_attn.weight"),
      .attention_bias = find("attn.c_attn.bias"),
      .projection_weight = find("attn.c_proj.weight"),
      .projection_bias = find("attn.c_proj.bias"),
      .ln_2_gain = find("ln_2.weight"),
      .ln_2_bias = find("ln_2.bias"),
      .fc_weight = find("mlp.c_fc.weight"),
      .fc_bias = find("mlp.c_fc.bias"),
      .mlp_projection_weight = find("mlp.c_proj.weight"),
      .mlp_projection_bias = find("mlp.c_proj.bias"),
  };
  RETURN_IF_ERROR(find.status());
  return std::make_unique<Gpt2Block>(index, unit, parameters,
                                     OptionsOf(dimensions, description.lora_alpha, index));
}

}  // namespace

absl::StatusOr<StageStack> MakeGpt2Stages(const layout::Gpt2Dimensions& dimensions,
                                          const layout::ModelDescription& description,
                                          const Model::Options& options) {
  const auto tied = dimensions.tied_head ? std::make_shared<TiedState>() : nullptr;
  const layout::UnitDescription& root = description.units[0];
  ParameterFinder find(root);
  const nn::EmbeddingOptions tokens = EmbeddingOptionsOf(root, find("wte.weight"));
  const TokenEmbedding::Options embedding = {
      .unit = 0,
      .tokens = tokens,
      .positions = EmbeddingOptionsOf(root, find("wpe.weight")),
      .tied = tied};
  const int gain = find("ln_f.weight");
  const int bias = find("ln_f.bias");
  const LanguageHead::Options head = {
      .unit = 0,
      .norm = LayerNormOptions(root, gain, bias, dimensions.layer_norm_epsilon),
      .weight = dimensions.tied_head ? tokens : EmbeddingOptionsOf(root, find("lm_head.weight")),
      .tied = tied,
      .loss_reduction = options.loss_reduction,
      .head_chunk_bytes = options.head_chunk_bytes,
  };
  RETURN_IF_ERROR(find.status());
  return StackStages(
      description, std::make_unique<TokenEmbedding>(embedding),
      [&](int unit) { return MakeBlock(dimensions, description, unit); },
      std::make_unique<LanguageHead>(head));
}

}  // namespace sotto::models
