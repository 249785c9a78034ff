// A checkpoint as a Hugging Face model directory.
#ifndef SOTTO_COMMON_CHECKPOINT_HUGGING_FACE_EXPORT_H_
#define SOTTO_COMMON_CHECKPOINT_HUGGING_FACE_EXPORT_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "common/checkpoint/checkpoint_reader.h"

namespace sotto::checkpoint {

// Writes model.safetensors (fp32; names and layouts of Hugging Face's model) and config.json into
// `directory`, which is created and must be empty. Returns the number of tensors. ALREADY_EXISTS:
// it holds something. INVALID_ARGUMENT: a model family that has no Hugging Face form.
absl::StatusOr<int64_t> ExportHuggingFace(const Checkpoint& checkpoint,
                                          const std::string& directory);

// config.json of the model.
absl::StatusOr<std::string> HuggingFaceConfig(const v1::ModelSpec& model);

}  // namespace sotto::checkpoint

#endif  // SOTTO_COMMON_CHECKPOINT_HUGGING_FACE_EXPORT_H_
