#include "worker/infer/line_output.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"

namespace sotto::infer {
namespace {

absl::Status WriteAll(const std::string& path, int file, absl::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(file, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return absl::ErrnoToStatus(errno, path);
    bytes.remove_prefix(written);
  }
  return absl::OkStatus();
}

}  // namespace

std::string PartPath(const std::string& output, int rank) {
  return absl::StrCat(output, ".part-", rank);
}

TemporaryFile::~TemporaryFile() { unlink(path_.c_str()); }

absl::StatusOr<LinePart> LinePart::Create(const std::string& path) {
  UniqueFd file(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!file.is_valid()) return absl::ErrnoToStatus(errno, path);
  return LinePart(path, std::move(file));
}

absl::Status LinePart::Append(absl::string_view line) {
  return WriteAll(path_, file_.get(), absl::StrCat(line, "\n"));
}

absl::Status LinePart::FinishAs(const std::string& name) {
  if (fsync(file_.get()) != 0) return absl::ErrnoToStatus(errno, path_);
  if (std::rename(path_.c_str(), name.c_str()) != 0) return absl::ErrnoToStatus(errno, name);
  return SyncFolder(FolderOf(name));
}

absl::Status MergeLines(const std::string& output, const TextGroups& groups, int64_t texts,
                        int world_size) {
  std::vector<std::ifstream> parts;
  for (int rank = 0; rank < world_size; ++rank) parts.emplace_back(PartPath(output, rank));
  const TemporaryFile unfinished(absl::StrCat(output, ".unfinished"));
  ASSIGN_OR_RETURN(LinePart merged, LinePart::Create(unfinished.path()));
  std::string line;
  for (int64_t text = 0; text < texts; ++text) {
    const int owner = groups.OwnerOf(text);
    if (!std::getline(parts[owner], line)) {
      return absl::DataLossError(
          absl::StrCat(PartPath(output, owner), " ends before prompt ", text));
    }
    RETURN_IF_ERROR(merged.Append(line));
  }
  return merged.FinishAs(output);
}

absl::Status CheckIsFree(const std::string& output) {
  std::error_code ignored;
  if (!std::filesystem::exists(std::filesystem::symlink_status(output, ignored))) {
    return absl::OkStatus();
  }
  return absl::AlreadyExistsError(absl::StrCat("output ", output, " must not exist yet"));
}

}  // namespace sotto::infer
