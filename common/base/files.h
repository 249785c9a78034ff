// Whole files: read, written so that a crash leaves the old or the new content, temporary folders.
#ifndef SOTTO_COMMON_BASE_FILES_H_
#define SOTTO_COMMON_BASE_FILES_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace sotto {

// The content of `path`. NOT_FOUND when there is no such file; PERMISSION_DENIED, UNAVAILABLE otherwise.
absl::StatusOr<std::string> ReadFile(const std::string& path);

// Replaces `path` by a file with `content` and `mode`: temporary file in the same folder, fsync, rename, fsync of the
// folder. RESOURCE_EXHAUSTED when the disk is full; the old content is then still there.
absl::Status AtomicWriteFile(const std::string& path, absl::string_view content, int mode = 0644);

// Makes the entries of `directory` durable.
absl::Status SyncDirectory(const std::string& directory);

// A new folder of mode 0700 named `prefix` and six random characters.
absl::StatusOr<std::string> MakeTempDir(const std::string& prefix = "/tmp/sotto-");

// The error of a system call as a Status: "<subject>: <strerror>", the code by errno.
absl::Status ErrnoStatus(int error, absl::string_view subject);

}  // namespace sotto

#endif  // SOTTO_COMMON_BASE_FILES_H_
