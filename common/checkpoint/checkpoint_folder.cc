#include "common/checkpoint/checkpoint_folder.h"

#include <algorithm>
#include <filesystem>
#include <regex>
#include <system_error>
#include <tuple>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace sotto::checkpoint {

std::string DirectoryName(const CheckpointName& name) {
  return absl::StrFormat("step-%09d-attempt-%d", name.step, name.attempt);
}

std::optional<CheckpointName> ParseDirectoryName(absl::string_view name) {
  static const std::regex& pattern = *new std::regex(R"(step-(\d{9,18})-attempt-(\d{1,18}))");
  std::cmatch match;
  if (!std::regex_match(name.data(), name.data() + name.size(), match, pattern)) return {};
  CheckpointName parsed;
  if (!absl::SimpleAtoi(match[1].str(), &parsed.step) ||
      !absl::SimpleAtoi(match[2].str(), &parsed.attempt)) {
    return {};
  }
  return parsed;
}

std::vector<CheckpointName> ListCheckpoints(const std::string& root) {
  std::vector<CheckpointName> names;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(root, error), end; !error && entry != end;
       entry.increment(error)) {
    const auto name = ParseDirectoryName(entry->path().filename().string());
    if (name.has_value()) names.push_back(*name);
  }
  std::sort(names.begin(), names.end(), [](const CheckpointName& a, const CheckpointName& b) {
    return std::tie(a.attempt, a.step) > std::tie(b.attempt, b.step);
  });
  return names;
}

std::string ShardFileName(int rank, int world_size) {
  return absl::StrFormat("rank-%05d-of-%05d.safetensors", rank, world_size);
}

std::string ShardTensorName(absl::string_view unit, absl::string_view kind) {
  return absl::StrCat(unit, "/", kind);
}

}  // namespace sotto::checkpoint
