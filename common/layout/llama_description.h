// Llama (Touvron et al. 2023) as units: the root, then one unit per transformer block.
#ifndef SOTTO_COMMON_LAYOUT_LLAMA_DESCRIPTION_H_
#define SOTTO_COMMON_LAYOUT_LLAMA_DESCRIPTION_H_

#include "absl/status/statusor.h"
#include "common/layout/llama_dimensions.h"
#include "common/layout/model_description.h"

namespace sotto::layout {

// Root: embed_tokens.weight [V, d], norm.weight [d] and, untied, lm_head.weight [V, d]. Block i:
// layers.i.input_layernorm, self_attn.{q,k,v,o}_proj, post_attention_layernorm,
// mlp.{gate,up,down}_proj, and after o_proj self_attn.{q,k}_norm [head width] where asked for;
// linear weights are [out, in], followed by their bias where there is one. The family's dimensions
// have their zeros (key_value_heads, head_width) replaced.
//
// INVALID_ARGUMENT: a dimension that is not positive (vocabulary: at least 2), heads not divisible
// by key_value_heads, an odd head width, an epsilon or rotary number out of its range.
absl::StatusOr<ModelDescription> MakeLlamaDescription(const LlamaDimensions& dimensions);

}  // namespace sotto::layout

#endif  // SOTTO_COMMON_LAYOUT_LLAMA_DESCRIPTION_H_
