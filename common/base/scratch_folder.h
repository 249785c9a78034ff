// Folders for what a program needs while it runs.
#ifndef SOTTO_COMMON_BASE_SCRATCH_FOLDER_H_
#define SOTTO_COMMON_BASE_SCRATCH_FOLDER_H_

#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace sotto {

// One folder of mode 0700, removed with all it holds by the destructor (best effort). Immutable;
// thread-safe.
class ScratchFolder {
 public:
  // "`prefix`XXXXXX", six random characters. UNAVAILABLE: the disk.
  static absl::StatusOr<std::unique_ptr<ScratchFolder>> Create(const std::string& prefix);
  ~ScratchFolder();
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  const std::string& path() const { return path_; }

 private:
  explicit ScratchFolder(std::string path) : path_(std::move(path)) {}

  const std::string path_;
};

// From now on SIGINT, SIGTERM and SIGHUP, unless they are ignored, remove every folder that lives
// before they end the process as they always do; what children still write there at that moment
// goes, too. Children get the signals' usual actions. To be called once, by main, in programs that
// owe nothing else to anybody at their end. INTERNAL: no pipe could be made.
absl::Status RemoveScratchFoldersOnSignals();

}  // namespace sotto

#endif  // SOTTO_COMMON_BASE_SCRATCH_FOLDER_H_
