// How a Hugging Face model directory comes to be: all of it, or nothing.
#ifndef SOTTO_COMMON_CHECKPOINT_HUGGING_FACE_FOLDER_H_
#define SOTTO_COMMON_CHECKPOINT_HUGGING_FACE_FOLDER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/checkpoint/file_operations.h"
#include "common/checkpoint/hugging_face_layout.h"

namespace sotto::checkpoint {

// One process, of those that write the directory together:
//   1. Create makes a folder beside the directory and in it the files of tensors, each with its
//      header and as long as it will be: a disk that is too small is found here.
//   2. HuggingFaceParts, of any process, write and sync what lies in them.
//   3. Publish adds the other files, syncs, and gives the folder the directory's name.
// The destructor removes a folder that was not published; Create one that is there already: a
// killed writer left it. Externally synchronised.
class HuggingFaceFolder {
 public:
  struct Options {
    std::string directory;                      // is created; may be there when empty
    std::string config;                         // text of config.json
    std::map<std::string, std::string> copies;  // names of further files, and of what to copy
    std::string path;                           // until Publish; "": UnfinishedPath of this process
    FileOperations* files = &DiskOperations::Get();
  };

  // The path of the folder until Publish, unless it is chosen: named after the process.
  static std::string UnfinishedPath(absl::string_view directory, int64_t process);

  // Borrows the layout. ALREADY_EXISTS: the directory holds something. UNAVAILABLE, with the path:
  // the disk.
  static absl::StatusOr<std::unique_ptr<HuggingFaceFolder>> Create(Options options,
                                                                   const HuggingFaceLayout& layout);
  ~HuggingFaceFolder();
  HuggingFaceFolder(const HuggingFaceFolder&) = delete;
  HuggingFaceFolder& operator=(const HuggingFaceFolder&) = delete;

  const std::string& path() const { return options_.path; }

  // Every part was synced. ReadFile's errors: of what is copied.
  absl::Status Publish();

 private:
  HuggingFaceFolder(Options options, const HuggingFaceLayout& layout);

  absl::Status Reserve(const HuggingFaceLayout::File& file);
  absl::Status Add(absl::string_view name, absl::string_view contents);

  const Options options_;
  const HuggingFaceLayout& layout_;
};

}  // namespace sotto::checkpoint

#endif  // SOTTO_COMMON_CHECKPOINT_HUGGING_FACE_FOLDER_H_
