// What one writer adds to a Hugging Face directory that several write at once.
#ifndef SOTTO_COMMON_CHECKPOINT_HUGGING_FACE_PART_H_
#define SOTTO_COMMON_CHECKPOINT_HUGGING_FACE_PART_H_

#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/base/fd.h"
#include "common/checkpoint/file_operations.h"
#include "common/checkpoint/hugging_face_layout.h"

namespace sotto::checkpoint {

// Writes into the files of a HuggingFaceFolder, each element at its place; holds one of them open.
// Parts of other threads and processes may write other elements meanwhile. Externally synchronised.
// UNAVAILABLE, with the path: the disk, or a folder that is not there.
class HuggingFacePart {
 public:
  // `folder` is HuggingFaceFolder::path(). The others are borrowed.
  HuggingFacePart(const HuggingFaceLayout& layout, std::string folder, FileOperations& files)
      : layout_(layout), folder_(std::move(folder)), files_(files) {}

  // Elements [first, first + values.size()) of a tensor of floats (F32, BF16, F16), in row-major
  // order, rounded to its dtype. INVALID_ARGUMENT, naming the tensor: beyond its end, no floats.
  absl::Status Write(int tensor, int64_t first, absl::Span<const float> values);

  // Bytes [first, first + bytes.size()) of a tensor, as they are. INVALID_ARGUMENT, naming the
  // tensor: beyond its end.
  absl::Status WriteBytes(int tensor, int64_t first, absl::string_view bytes);

  // What this part wrote is on the disk.
  absl::Status Sync();

  int64_t bytes_written() const { return bytes_written_; }

 private:
  std::string PathOf(int file) const;
  absl::Status Open(int file);

  const HuggingFaceLayout& layout_;
  const std::string folder_;
  FileOperations& files_;
  int open_ = -1;  // the file that `file_` is; -1: none
  UniqueFd file_;
  int64_t bytes_written_ = 0;
};

}  // namespace sotto::checkpoint

#endif  // SOTTO_COMMON_CHECKPOINT_HUGGING_FACE_PART_H_
