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

absl::Status ExistsError(const std::string& output) {
  return absl::AlreadyExistsError(absl::StrCat("output ", output, " must not exist yet"));
}

}  // namespace

std::string PartPath(const std::string& unfinished, int rank) {
  return absl::StrCat(unfinished, ".part-", rank);
}

std::string MergedPath(const std::string& unfinished) {
  return absl::StrCat(unfinished, ".unfinished");
}

TemporaryFile::~TemporaryFile() { unlink(path_.c_str()); }

absl::StatusOr<LinePart> LinePart::Create(const std::string& path) {
  ASSIGN_OR_RETURN(UniqueFd file, OpenFile(path, O_WRONLY | O_CREAT | O_TRUNC, 0644));
  return LinePart(path, std::move(file));
}

absl::Status LinePart::Append(absl::string_view line) {
  const absl::Status written = WriteAll(file_.get(), absl::StrCat(line, "\n"));
  if (written.ok()) return written;
  return absl::Status(written.code(), absl::StrCat(path_, ": ", written.message()));
}

absl::Status LinePart::Sync() {
  return fsync(file_.get()) == 0 ? absl::OkStatus() : absl::ErrnoToStatus(errno, path_);
}

absl::Status MergeLines(const Task& task) {
  std::vector<std::ifstream> parts;
  for (int rank = 0; rank < task.communicator.world_size(); ++rank) {
    parts.emplace_back(PartPath(task.unfinished, rank));
  }
  const TemporaryFile file(MergedPath(task.unfinished));
  ASSIGN_OR_RETURN(LinePart merged, LinePart::Create(file.path()));
  const TextGroups groups = task.groups();
  std::string line;
  for (int64_t text = 0; text < static_cast<int64_t>(task.prompts.size()); ++text) {
    const int owner = groups.OwnerOf(text);
    if (!std::getline(parts[owner], line)) {
      return absl::DataLossError(
          absl::StrCat(PartPath(task.unfinished, owner), " ends before prompt ", text));
    }
    RETURN_IF_ERROR(merged.Append(line));
  }
  RETURN_IF_ERROR(merged.Sync());
  return GiveName(file.path(), task.output, task.options.may_replace_output);
}

absl::Status GiveName(const std::string& file, const std::string& name, bool may_replace) {
  int failed = -1;
  if (!may_replace) {
    failed = renameat2(AT_FDCWD, file.c_str(), AT_FDCWD, name.c_str(), RENAME_NOREPLACE);
    if (failed != 0 && errno == EEXIST) return ExistsError(name);
    // A file system that cannot refuse.
    const bool is_unknown = failed != 0 && (errno == EINVAL || errno == ENOSYS);
    if (failed != 0 && !is_unknown) return absl::ErrnoToStatus(errno, name);
    if (is_unknown) RETURN_IF_ERROR(CheckIsFree(name));
  }
  if (failed != 0 && std::rename(file.c_str(), name.c_str()) != 0) {
    return absl::ErrnoToStatus(errno, name);
  }
  return SyncFolder(FolderOf(name));
}

absl::Status CheckIsFree(const std::string& output) {
  std::error_code ignored;
  if (!std::filesystem::exists(std::filesystem::symlink_status(output, ignored))) {
    return absl::OkStatus();
  }
  return ExistsError(output);
}

}  // namespace sotto::infer
