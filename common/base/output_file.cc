#include "common/base/output_file.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"

namespace sotto {
namespace {

// Empty: it can be written.
std::string WhyNot(const std::string& path) {
  std::error_code error;
  if (path.empty()) return "it has no name";
  if (std::filesystem::is_directory(path, error)) return "it is a folder";
  if (std::filesystem::exists(path, error)) {
    return access(path.c_str(), W_OK) == 0 ? "" : std::strerror(errno);
  }
  const std::string folder = FolderOf(path);
  if (!std::filesystem::is_directory(folder, error)) {
    return absl::StrCat(folder, " is not a folder");
  }
  if (access(folder.c_str(), W_OK) == 0) return "";
  return absl::StrCat(folder, ": ", std::strerror(errno));
}

}  // namespace

absl::Status CheckOutputFile(const std::string& path) {
  const std::string why = WhyNot(path);
  if (why.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("must be a file that can be written, but is \"", path, "\": ", why));
}

}  // namespace sotto
