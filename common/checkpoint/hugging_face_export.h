// A checkpoint as a Hugging Face model directory.
#ifndef SOTTO_COMMON_CHECKPOINT_HUGGING_FACE_EXPORT_H_
#define SOTTO_COMMON_CHECKPOINT_HUGGING_FACE_EXPORT_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "common/checkpoint/checkpoint_reader.h"
#include "common/checkpoint/file_operations.h"

namespace sotto::checkpoint {

struct HuggingFaceExportOptions {
  std::string directory;       // is created; may be there when empty
  std::string config;          // text of config.json, see spec::HuggingFaceConfig
  std::string model_type;      // of config.json: decides the tensors' names
  std::string dtype = "F32";   // F32, BF16 or F16
  int64_t max_file_bytes = 0;  // 0: one file
  FileOperations* files = &DiskOperations::Get();
};

// Writes config.json and the parameters with the names and layouts of Hugging Face's model,
// low-rank adapters merged: all of it or nothing. Returns the number of tensors. Errors: of
// HuggingFaceWriter and MergedTensors.
absl::StatusOr<int64_t> ExportHuggingFace(const Checkpoint& checkpoint,
                                          const HuggingFaceExportOptions& options);

}  // namespace sotto::checkpoint

#endif  // SOTTO_COMMON_CHECKPOINT_HUGGING_FACE_EXPORT_H_
