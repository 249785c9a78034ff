// Writes a checkpoint directory.
//
//   ROOT/latest                          name of the newest checkpoint, replaced by rename
//   ROOT/step-000000040-attempt-2/       complete: everything in it was synced before it got this
//                                        name
//     manifest.json                      CheckpointManifest as JSON: files with SHA-256, units with
//                                        their tensors
//     rank-00000-of-00002.safetensors    tensors "<unit>/<kind>": this rank's flat fp32 shard;
//                                        kind: master, momentum, m, v
//   ROOT/.writing-step-...-attempt-.../  in the making, or left over by a crash
//   ROOT/.removing-.../                  on its way out, or left over by a crash
//
// 1. Every rank: WriteShardFile.  2. Barrier (the caller's).  3. Rank 0: CommitCheckpoint, then
// RemoveOldCheckpoints.
#ifndef SOTTO_COMMON_CHECKPOINT_CHECKPOINT_WRITER_H_
#define SOTTO_COMMON_CHECKPOINT_CHECKPOINT_WRITER_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/checkpoint/file_operations.h"
#include "proto/sotto/v1/checkpoint.pb.h"

namespace sotto::checkpoint {

// A rank's shard of one unit: `values` are elements [rank * size, (rank + 1) * size) of the padded
// unit.
struct ShardTensor {
  std::string unit;
  std::string kind;  // "master" (the parameters), or a name of optimizer state
  absl::Span<const float> values;
};

struct CheckpointName {
  int64_t step = 0;     // first step not in it
  int64_t attempt = 0;  // that wrote it

  friend bool operator==(const CheckpointName&, const CheckpointName&) = default;
};

// "step-000000040-attempt-2".
std::string DirectoryName(const CheckpointName& name);

// Writes and syncs this rank's file, and beside it what the manifest will say of it. `on_read` is
// called once the last value was read: from then on they may change. UNAVAILABLE: the disk; the
// file is gone again.
absl::Status WriteShardFile(
    const std::string& root, const CheckpointName& name, int rank, int world_size,
    absl::Span<const ShardTensor> tensors, const std::function<void()>& on_read = [] {},
    FileOperations& files = DiskOperations::Get());

// After every rank's WriteShardFile. `manifest` has everything but `files`. Writes the manifest,
// syncs, renames, moves the latest pointer. Returns the directory. FAILED_PRECONDITION: a rank's
// file is missing. ABORTED: a later attempt has a checkpoint already. UNAVAILABLE: the disk; the
// previous checkpoint still stands.
absl::StatusOr<std::string> CommitCheckpoint(const std::string& root,
                                             v1::CheckpointManifest manifest,
                                             FileOperations& files = DiskOperations::Get());

}  // namespace sotto::checkpoint

#endif  // SOTTO_COMMON_CHECKPOINT_CHECKPOINT_WRITER_H_
