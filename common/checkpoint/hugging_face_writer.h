// Writes a Hugging Face model directory, tensor after tensor: all of it, or nothing.
#ifndef SOTTO_COMMON_CHECKPOINT_HUGGING_FACE_WRITER_H_
#define SOTTO_COMMON_CHECKPOINT_HUGGING_FACE_WRITER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/checkpoint/file_operations.h"
#include "common/checkpoint/hugging_face_folder.h"
#include "common/checkpoint/hugging_face_layout.h"
#include "common/checkpoint/hugging_face_part.h"
#include "common/checkpoint/safetensors_layout.h"

namespace sotto::checkpoint {

// The name of a parameter ("wte.weight", "layers.0.mlp.up_proj.weight") in the files of a family
// ("gpt2", "llama", "qwen2", "qwen3"): behind "transformer." or "model.", the head alone.
std::string HuggingFaceName(absl::string_view model_type, absl::string_view parameter);

// A HuggingFaceFolder with one part. Tensors are declared at the start, with their names in the
// files, and then written in that order, in any number of pieces. Externally synchronised.
class HuggingFaceWriter {
 public:
  struct Options {
    std::string directory;                      // is created; may be there when empty
    std::string config;                         // text of config.json
    std::map<std::string, std::string> copies;  // names of further files, and of what to copy
    int64_t max_file_bytes = 0;                 // of HuggingFaceLayout::Create
    FileOperations* files = &DiskOperations::Get();
  };

  // INVALID_ARGUMENT, naming the tensor: duplicate names, a dtype other than F32, BF16 and F16.
  // Else HuggingFaceFolder::Create's errors.
  static absl::StatusOr<std::unique_ptr<HuggingFaceWriter>> Create(
      Options options, std::vector<TensorShape> tensors);

  // The next elements, rounded to their tensor's dtype. INVALID_ARGUMENT: more than declared.
  absl::Status Append(absl::Span<const float> values);

  // Syncs, writes the other files, gives the directory its name. FAILED_PRECONDITION: fewer
  // elements than declared. Else HuggingFaceFolder::Publish's errors.
  absl::Status Finish();

 private:
  explicit HuggingFaceWriter(HuggingFaceLayout layout);

  const HuggingFaceLayout layout_;
  std::unique_ptr<HuggingFaceFolder> folder_;
  std::unique_ptr<HuggingFacePart> part_;
  int64_t remaining_ = 0;  // elements that are still to come
  int tensor_ = 0;         // where the next one goes
  int64_t element_ = 0;
};

}  // namespace sotto::checkpoint

#endif  // SOTTO_COMMON_CHECKPOINT_HUGGING_FACE_WRITER_H_
