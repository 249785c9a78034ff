// Which of a job's checkpoints stay.
#ifndef SOTTO_COMMON_CHECKPOINT_CHECKPOINT_RETENTION_H_
#define SOTTO_COMMON_CHECKPOINT_CHECKPOINT_RETENTION_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "common/checkpoint/checkpoint_writer.h"
#include "common/checkpoint/file_operations.h"

namespace sotto::checkpoint {

struct Retention {
  int keep = 3;       // newest; at least 1
  int keep_best = 0;  // besides, those with the lowest evaluation loss
};

struct RatedCheckpoint {
  CheckpointName name;
  std::optional<double> evaluation_loss;
};

// Those that may go. `newest_first` as ListCheckpoints has them. Of equal losses the newer one is
// better; one without a loss, or with NaN, is never among the best.
std::vector<CheckpointName> ChooseRemoved(absl::Span<const RatedCheckpoint> newest_first,
                                          const Retention& retention);

// After the commit of `committed`: removes the checkpoints under `root` that may go and what
// crashes left before it, but never the newest, nor one that is held (CheckpointHold), nor one that
// is in the making. UNAVAILABLE: the disk; the next call tries again.
absl::Status RemoveOldCheckpoints(const std::string& root, const CheckpointName& committed,
                                  const Retention& retention,
                                  FileOperations& files = DiskOperations::Get());

// Before the first save of `attempt`: removes what earlier ones left under `root` when they were
// killed or the disk was full, which would take the room of the next save. OK when there is no such
// folder. UNAVAILABLE: the disk.
absl::Status RemoveLeftovers(const std::string& root, int64_t attempt,
                             FileOperations& files = DiskOperations::Get());

}  // namespace sotto::checkpoint

#endif  // SOTTO_COMMON_CHECKPOINT_CHECKPOINT_RETENTION_H_
