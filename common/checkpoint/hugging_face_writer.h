// Writes a Hugging Face model directory: all of it, or nothing.
#ifndef SOTTO_COMMON_CHECKPOINT_HUGGING_FACE_WRITER_H_
#define SOTTO_COMMON_CHECKPOINT_HUGGING_FACE_WRITER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/checkpoint/file_operations.h"
#include "common/checkpoint/safetensors_writer.h"

namespace sotto::checkpoint {

// The name of a parameter ("wte.weight", "layers.0.mlp.up_proj.weight") in the files of a family
// ("gpt2", "llama", "qwen2", "qwen3"): behind "transformer." or "model.", the head alone.
std::string HuggingFaceName(absl::string_view model_type, absl::string_view parameter);

// Tensors are declared at the start, with their names in the files, and then written in that order,
// in any number of pieces. Until Finish everything lies in a folder beside the directory, which the
// destructor removes, and Create when it is there already: a killed writer left it. Externally
// synchronised.
class HuggingFaceWriter {
 public:
  struct Options {
    std::string directory;                      // is created; may be there when empty
    std::string config;                         // text of config.json
    std::map<std::string, std::string> copies;  // names of further files, and of what to copy
    int64_t max_file_bytes = 0;  // tensors of one file, unless a single one is larger; 0: one file
    std::string unfinished;      // the folder until Finish; "": named after this process
    FileOperations* files = &DiskOperations::Get();
  };

  // ALREADY_EXISTS: the directory holds something. INVALID_ARGUMENT: of SafetensorsWriter::Create.
  // UNAVAILABLE: the disk.
  static absl::StatusOr<std::unique_ptr<HuggingFaceWriter>> Create(
      Options options, std::vector<TensorShape> tensors);
  ~HuggingFaceWriter();
  HuggingFaceWriter(const HuggingFaceWriter&) = delete;
  HuggingFaceWriter& operator=(const HuggingFaceWriter&) = delete;

  // The next elements, rounded to their tensor's dtype. INVALID_ARGUMENT: more than declared.
  absl::Status Append(absl::Span<const float> values);

  // Writes index, configuration and copies, syncs, gives the directory its name.
  // FAILED_PRECONDITION: fewer elements than declared. ReadFile's: of what is copied.
  absl::Status Finish();

 private:
  struct File {
    std::string name;
    std::vector<TensorShape> tensors;
    int64_t elements = 0;
  };

  HuggingFaceWriter(Options options, std::vector<File> files);

  absl::Status OpenNext();
  absl::Status CloseFile();
  absl::Status WriteIndex();

  const Options options_;
  const std::string writing_;  // the folder until Finish
  const std::vector<File> files_;
  size_t next_file_ = 0;
  std::optional<SafetensorsWriter> file_;
  int64_t remaining_ = 0;  // elements of the open file that are still to come
  int64_t declared_ = 0;   // of all files
};

}  // namespace sotto::checkpoint

#endif  // SOTTO_COMMON_CHECKPOINT_HUGGING_FACE_WRITER_H_
