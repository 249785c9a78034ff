#include "worker/memory/resident_memory.h"

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "common/base/files.h"

namespace sotto::memory {
namespace {

// Lines look like "VmHWM:     1234 kB".
int64_t StatusBytes(absl::string_view key) {
  const absl::StatusOr<std::string> text = ReadFile("/proc/self/status");
  if (!text.ok()) return 0;
  for (absl::string_view line : absl::StrSplit(*text, '\n')) {
    if (!absl::StartsWith(line, key)) continue;
    const std::vector<absl::string_view> words =
        absl::StrSplit(line.substr(key.size()), absl::ByAnyChar(" \t"), absl::SkipEmpty());
    int64_t kibibytes = 0;
    if (words.empty() || !absl::SimpleAtoi(words[0], &kibibytes)) return 0;
    return kibibytes * 1024;
  }
  return 0;
}

}  // namespace

int64_t PeakResidentBytes() { return StatusBytes("VmHWM:"); }
int64_t ResidentBytes() { return StatusBytes("VmRSS:"); }

}  // namespace sotto::memory
