// GPT-2 (Radford et al. 2019) as units: the root, then one unit per transformer block.
#ifndef SOTTO_COMMON_LAYOUT_GPT2_DESCRIPTION_H_
#define SOTTO_COMMON_LAYOUT_GPT2_DESCRIPTION_H_

#include "absl/status/statusor.h"
#include "common/layout/model_description.h"

namespace sotto::layout {

// Root: wte.weight [V, d], wpe.weight [L, d], ln_f.weight, ln_f.bias [d] and, untied,
// lm_head.weight [V, d]. Block i: h.i.ln_1, attn.c_attn [d, 3d], attn.c_proj [d, d], ln_2, mlp.c_fc
// [d, 4d], mlp.c_proj [4d, d], weight before bias (Conv1D layout: [in, out]). Projections back into
// the residual stream start with init_stddev / sqrt(2 layers).
//
// INVALID_ARGUMENT: a dimension that is not positive (vocabulary: at least 2), width not divisible
// by heads, a standard deviation or epsilon that is not finite and positive (a zero init_stddev is
// allowed).
absl::StatusOr<ModelDescription> MakeGpt2Description(const Gpt2Dimensions& dimensions);

}  // namespace sotto::layout

#endif  // SOTTO_COMMON_LAYOUT_GPT2_DESCRIPTION_H_
