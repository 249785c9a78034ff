// config.json of a Hugging Face model directory.
#ifndef SOTTO_COMMON_SPEC_HUGGING_FACE_CONFIG_H_
#define SOTTO_COMMON_SPEC_HUGGING_FACE_CONFIG_H_

#include <variant>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/layout/llama_dimensions.h"
#include "common/layout/model_description.h"

namespace sotto::spec {

using HuggingFaceDimensions = std::variant<layout::Gpt2Dimensions, layout::LlamaDimensions>;

// What the configuration says of the model; what it leaves out has the defaults of transformers 5
// (GPT2Config, LlamaConfig, Qwen2Config, Qwen3Config; Qwen's are Llamas with biases or norms of
// queries and keys). Dropout is ignored: examples are evaluated without it. `rope_scaling`
// and `rope_parameters` are both understood. INVALID_ARGUMENT, naming the key: not a JSON object, a
// value of the wrong type, more than 10000 layers, a model type, activation or rotary type that is
// not known, quantised weights, cross-attention, sliding windows.
absl::StatusOr<HuggingFaceDimensions> ParseHuggingFaceConfig(absl::string_view json);

// The description of either family. INVALID_ARGUMENT: dimensions that make no model.
absl::StatusOr<layout::ModelDescription> DescribeHuggingFace(
    const HuggingFaceDimensions& dimensions);

}  // namespace sotto::spec

#endif  // SOTTO_COMMON_SPEC_HUGGING_FACE_CONFIG_H_
