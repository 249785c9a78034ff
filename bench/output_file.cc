#include "bench/output_file.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>

namespace sotto::bench {
namespace {

// Empty: it can be written.
std::string WhyNot(const std::string& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) return "it is a folder";
  if (std::filesystem::exists(path, error)) {
    return access(path.c_str(), W_OK) == 0 ? "" : std::strerror(errno);
  }
  const std::filesystem::path parent = std::filesystem::path(path).parent_path();
  const std::string folder = parent.empty() ? "." : parent.string();
  if (!std::filesystem::is_directory(folder, error)) return folder + " is not a folder";
  return access(folder.c_str(), W_OK) == 0 ? "" : folder + ": " + std::strerror(errno);
}

}  // namespace

CLI::Validator OutputFile() {
  return CLI::Validator(
      [](const std::string& path) {
        const std::string why = WhyNot(path);
        return why.empty() ? "" : "must be a file that can be written, but is " + path + ": " + why;
      },
      "FILE");
}

}  // namespace sotto::bench
