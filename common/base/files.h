// Whole files and folders, durable where it says so. Errors carry errno's canonical code and the
// path.
#ifndef SOTTO_COMMON_BASE_FILES_H_
#define SOTTO_COMMON_BASE_FILES_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace sotto {

absl::StatusOr<std::string> ReadFile(const std::string& path);

// Replaces `path` by `contents` so that after a crash the file is wholly the old or wholly the new
// one, and after an OK return the new one is on disk: temporary file beside it, fsync, rename,
// fsync of the folder.
absl::Status AtomicWriteFile(const std::string& path, absl::string_view contents, int mode = 0600);

// Makes renames, creations and removals in `folder` durable.
absl::Status SyncFolder(const std::string& folder);

// Creates a folder of mode 0700 named `prefix` and six random characters, such as "/tmp/sotto-".
absl::StatusOr<std::string> MakeTempDir(const std::string& prefix);

// The folder part of a path: "." when it has none.
std::string FolderOf(const std::string& path);

}  // namespace sotto

#endif  // SOTTO_COMMON_BASE_FILES_H_
