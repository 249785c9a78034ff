#include "tools/check/world_check.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "tools/check/recorded_training.h"

namespace sotto::check {
namespace {

std::vector<uint32_t> BitsOf(const std::string& bytes) {
  std::vector<uint32_t> bits(bytes.size() / sizeof(uint32_t));
  std::memcpy(bits.data(), bytes.data(), bits.size() * sizeof(uint32_t));
  return bits;
}

int64_t CountDifferences(const std::vector<uint32_t>& a, const std::vector<uint32_t>& b) {
  int64_t count = static_cast<int64_t>(std::max(a.size(), b.size()) - std::min(a.size(), b.size()));
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) count += a[i] != b[i];
  return count;
}

}  // namespace

absl::StatusOr<std::vector<WorldRow>> CompareWorldSizes(const WorldOptions& options) {
  RunSettings settings = options.settings;
  settings.threads = 1;  // The number of threads must not differ between world sizes.
  std::vector<WorldRow> rows;
  std::vector<uint32_t> first;
  for (const int world_size : options.world_sizes) {
    settings.world_size = world_size;
    ASSIGN_OR_RETURN(const std::unique_ptr<RecordedTraining> training,
                     RecordedTraining::Create(settings));
    RunRequest request;
    ASSIGN_OR_RETURN(request.plan, training->Plan(options.mode));
    request.snapshots = {.write_to = absl::StrCat(training->folder(), "/model.f32"),
                         .last_only = true};
    const absl::Time begin = RealClock::Get().Now();
    RETURN_IF_ERROR(training->Run(request).status());
    const double seconds = absl::ToDoubleSeconds(RealClock::Get().Now() - begin);
    ASSIGN_OR_RETURN(const std::string bytes, ReadFile(request.snapshots.write_to));
    std::vector<uint32_t> model = BitsOf(bytes);
    if (rows.empty()) first = model;
    rows.push_back({.world_size = world_size,
                    .differing_parameters = CountDifferences(model, first),
                    .seconds = seconds});
  }
  return rows;
}

}  // namespace sotto::check
