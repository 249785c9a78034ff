// config.json of a model, as Hugging Face's library reads it: the reverse of hugging_face_config.h.
#ifndef SOTTO_COMMON_SPEC_HUGGING_FACE_CONFIG_WRITER_H_
#define SOTTO_COMMON_SPEC_HUGGING_FACE_CONFIG_WRITER_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "proto/sotto/v1/spec.pb.h"

namespace sotto::spec {

struct HuggingFaceConfigText {
  std::string model_type;  // "gpt2", "llama", "qwen2", "qwen3"
  std::string json;
};

// `dtype`: of the tensors beside it, as safetensors files name it (F32, BF16, F16). Low-rank
// adapters are left out: they are merged. Keys are those that versions 4 and 5 of the library read.
// INVALID_ARGUMENT, naming the reason: a family or a choice of biases and norms that the library
// has no model for, or another dtype.
absl::StatusOr<HuggingFaceConfigText> FormatHuggingFaceConfig(const v1::ModelSpec& model,
                                                              absl::string_view dtype);

}  // namespace sotto::spec

#endif  // SOTTO_COMMON_SPEC_HUGGING_FACE_CONFIG_WRITER_H_
