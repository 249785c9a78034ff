// Which parameters of a model are trained, and what is added to train instead.
#ifndef SOTTO_COMMON_LAYOUT_ADAPTATION_H_
#define SOTTO_COMMON_LAYOUT_ADAPTATION_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/layout/model_description.h"

namespace sotto::layout {

// Low-rank adapters (Hu et al. 2021) on linear maps of the blocks.
struct LoraAdaptation {
  int64_t rank = 0;
  double alpha = 0;                  // 0: rank
  std::vector<std::string> targets;  // last parts of layer names ("q_proj", "attn.c_proj"); empty:
                                     // every linear map of the attention
};

// Nothing set: everything is trained. With both lora and bias_only, both are.
struct Adaptation {
  std::optional<LoraAdaptation> lora;
  bool bias_only = false;
  // Never trained; names with or without the model file's prefix, * for any text.
  std::vector<std::string> frozen;
};

// Adds the adapters' parameters behind each unit's own, NAME.lora_A.weight [rank, inputs] (normal)
// and NAME.lora_B.weight [outputs, rank] (zeros, so that training starts from the given model),
// with a layer for each, and marks what is frozen. INVALID_ARGUMENT: a rank below 1, an alpha that
// is not finite and positive, a target or pattern that matches nothing, nothing left to train; the
// message begins with the field's path in a job's spec, and a space.
absl::Status Adapt(const Adaptation& adaptation, ModelDescription& model);

}  // namespace sotto::layout

#endif  // SOTTO_COMMON_LAYOUT_ADAPTATION_H_
