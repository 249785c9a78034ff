#include "common/checkpoint/checkpoint_retention.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <set>
#include <system_error>
#include <tuple>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/status_macros.h"
#include "common/checkpoint/checkpoint_folder.h"
#include "common/checkpoint/checkpoint_hold.h"
#include "common/checkpoint/checkpoint_reader.h"

namespace sotto::checkpoint {
namespace {

bool HasLoss(const RatedCheckpoint& checkpoint) {
  return checkpoint.evaluation_loss.has_value() && !std::isnan(*checkpoint.evaluation_loss);
}

// A manifest that cannot be read makes its checkpoint no best one.
RatedCheckpoint Rate(const std::string& root, const CheckpointName& name) {
  RatedCheckpoint rated{.name = name};
  const absl::StatusOr<v1::CheckpointManifest> manifest =
      ReadManifest(absl::StrCat(root, "/", DirectoryName(name)));
  if (manifest.ok() && manifest->has_evaluation_loss()) {
    rated.evaluation_loss = manifest->evaluation_loss();
  }
  return rated;
}

// Out of sight first: what is listed is always whole.
absl::Status Remove(const std::string& root, const CheckpointName& name, FileOperations& files) {
  const std::string directory = absl::StrCat(root, "/", DirectoryName(name));
  const absl::StatusOr<CheckpointHold> hold = CheckpointHold::ToRemove(directory);
  if (absl::IsUnavailable(hold.status())) return absl::OkStatus();  // The next commit tries again.
  const std::string removing = absl::StrCat(root, "/", kRemovingPrefix, DirectoryName(name));
  RETURN_IF_ERROR(RemoveTree(files, removing));
  RETURN_IF_ERROR(files.Rename(directory, removing));
  return RemoveTree(files, removing);
}

// Whether nobody can still be writing a checkpoint of this name: a save ends before the next one
// of its attempt is committed, and an attempt before the next one begins.
bool IsLeftOver(absl::string_view file, const CheckpointName& last) {
  if (absl::StartsWith(file, kRemovingPrefix)) return true;
  if (!absl::ConsumePrefix(&file, kWritingPrefix)) return false;
  const std::optional<CheckpointName> name = ParseDirectoryName(file);
  return !name.has_value() ||
         std::tie(name->attempt, name->step) <= std::tie(last.attempt, last.step);
}

// Of saves up to `last`.
absl::Status RemoveLeftoversUntil(const std::string& root, const CheckpointName& last,
                                  FileOperations& files) {
  std::vector<std::string> leftovers;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(root, error), end; !error && entry != end;
       entry.increment(error)) {
    if (IsLeftOver(entry->path().filename().string(), last)) {
      leftovers.push_back(entry->path().string());
    }
  }
  for (const std::string& leftover : leftovers) RETURN_IF_ERROR(RemoveTree(files, leftover));
  return absl::OkStatus();
}

}  // namespace

std::vector<CheckpointName> ChooseRemoved(absl::Span<const RatedCheckpoint> newest_first,
                                          const Retention& retention) {
  const size_t keep = std::min<size_t>(std::max(retention.keep, 1), newest_first.size());
  std::vector<size_t> best;
  for (size_t i = 0; i < newest_first.size(); ++i) {
    if (HasLoss(newest_first[i])) best.push_back(i);
  }
  std::stable_sort(best.begin(), best.end(), [&](size_t a, size_t b) {
    return *newest_first[a].evaluation_loss < *newest_first[b].evaluation_loss;
  });
  best.resize(std::min<size_t>(best.size(), std::max(retention.keep_best, 0)));
  const std::set<size_t> kept(best.begin(), best.end());
  std::vector<CheckpointName> removed;
  for (size_t i = keep; i < newest_first.size(); ++i) {
    if (!kept.contains(i)) removed.push_back(newest_first[i].name);
  }
  return removed;
}

absl::Status RemoveOldCheckpoints(const std::string& root, const CheckpointName& committed,
                                  const Retention& retention, FileOperations& files) {
  std::vector<RatedCheckpoint> rated;
  for (const CheckpointName& name : ListCheckpoints(root)) {
    rated.push_back(retention.keep_best > 0 ? Rate(root, name) : RatedCheckpoint{.name = name});
  }
  for (const CheckpointName& name : ChooseRemoved(rated, retention)) {
    RETURN_IF_ERROR(Remove(root, name, files));
  }
  return RemoveLeftoversUntil(root, committed, files);
}

absl::Status RemoveLeftovers(const std::string& root, int64_t attempt, FileOperations& files) {
  return RemoveLeftoversUntil(
      root, {.step = std::numeric_limits<int64_t>::max(), .attempt = attempt - 1}, files);
}

}  // namespace sotto::checkpoint
