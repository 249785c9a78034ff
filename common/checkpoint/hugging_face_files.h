// The tensor files of a Hugging Face model directory.
#ifndef SOTTO_COMMON_CHECKPOINT_HUGGING_FACE_FILES_H_
#define SOTTO_COMMON_CHECKPOINT_HUGGING_FACE_FILES_H_

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/checkpoint/safetensors_reader.h"

namespace sotto::checkpoint {

// A tensor in one of the files; valid as long as they.
struct FileTensor {
  const SafetensorsReader* file = nullptr;
  const SafetensorsEntry* entry = nullptr;
  std::atomic<int64_t>* bytes_read = nullptr;  // of all files; null: nobody counts
};

// Immutable after Open; thread-safe. Files are mapped, so that only what is read is loaded.
class HuggingFaceFiles {
 public:
  // model.safetensors or, where that is missing, the files that model.safetensors.index.json names.
  // NOT_FOUND: neither, or a file that the index names. INVALID_ARGUMENT, naming file and tensor:
  // an index that is malformed, names a file outside of the directory or a tensor that its file
  // lacks; a file with a tensor that the index does not have; a file that is no safetensors file.
  static absl::StatusOr<std::unique_ptr<HuggingFaceFiles>> Open(const std::string& directory);

  // Of tensors, until now: what this process took from the mapped files. Headers do not count.
  int64_t bytes_read() const { return bytes_read_; }

  // All tensors by name.
  const std::map<std::string, FileTensor>& tensors() const { return tensors_; }

 private:
  HuggingFaceFiles() = default;

  absl::Status OpenIndexed(const std::string& directory, const std::string& index);
  absl::Status AddFile(const std::string& path);

  std::vector<std::unique_ptr<SafetensorsReader>> files_;
  std::map<std::string, FileTensor> tensors_;
  std::atomic<int64_t> bytes_read_ = 0;
};

// Copies elements [begin, begin + values.size()) as floats. F32, F64 (rounded), F16 and BF16.
// INVALID_ARGUMENT, naming the tensor: another dtype, or out of its range.
absl::Status ReadAsFloats(const FileTensor& tensor, int64_t begin, absl::Span<float> values);

}  // namespace sotto::checkpoint

#endif  // SOTTO_COMMON_CHECKPOINT_HUGGING_FACE_FILES_H_
