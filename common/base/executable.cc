#include "common/base/executable.h"

#include <filesystem>
#include <system_error>

namespace sotto {

std::string BesideThisExecutable(absl::string_view name) {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  return (self.parent_path() / std::string(name)).string();
}

}  // namespace sotto
