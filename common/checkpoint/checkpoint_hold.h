// Keeps a checkpoint from being removed while somebody needs it.
#ifndef SOTTO_COMMON_CHECKPOINT_CHECKPOINT_HOLD_H_
#define SOTTO_COMMON_CHECKPOINT_CHECKPOINT_HOLD_H_

#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "common/base/fd.h"

namespace sotto::checkpoint {

// A lock on the checkpoint's manifest, which ends with this object or its process. Any number of
// readers hold a checkpoint at once; it is removed only when nobody does.
class CheckpointHold {
 public:
  CheckpointHold() = default;

  // NOT_FOUND: there is no such checkpoint, or it is being removed.
  static absl::StatusOr<CheckpointHold> ToRead(const std::string& directory);
  // UNAVAILABLE: somebody holds it. NOT_FOUND: it has no manifest.
  static absl::StatusOr<CheckpointHold> ToRemove(const std::string& directory);

  void Release() { manifest_.Reset(); }

 private:
  explicit CheckpointHold(UniqueFd manifest) : manifest_(std::move(manifest)) {}

  UniqueFd manifest_;
};

}  // namespace sotto::checkpoint

#endif  // SOTTO_COMMON_CHECKPOINT_CHECKPOINT_HOLD_H_
