#include "common/checkpoint/checkpoint_hold.h"

#include <fcntl.h>
#include <sys/file.h>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/checkpoint/checkpoint_folder.h"

namespace sotto::checkpoint {
namespace {

absl::StatusOr<UniqueFd> OpenManifest(const std::string& directory) {
  return OpenFile(absl::StrCat(directory, "/", kManifestFile), O_RDONLY);
}

}  // namespace

absl::StatusOr<CheckpointHold> CheckpointHold::ToRead(const std::string& directory) {
  ASSIGN_OR_RETURN(UniqueFd manifest, OpenManifest(directory));
  if (flock(manifest.get(), LOCK_SH | LOCK_NB) != 0) {
    return absl::NotFoundError(absl::StrCat(directory, " is being removed"));
  }
  return CheckpointHold(std::move(manifest));
}

absl::StatusOr<CheckpointHold> CheckpointHold::ToRemove(const std::string& directory) {
  ASSIGN_OR_RETURN(UniqueFd manifest, OpenManifest(directory));
  if (flock(manifest.get(), LOCK_EX | LOCK_NB) != 0) {
    return absl::UnavailableError(absl::StrCat(directory, " is in use"));
  }
  return CheckpointHold(std::move(manifest));
}

}  // namespace sotto::checkpoint
