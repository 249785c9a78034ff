// Checkpoints whose values tell which one they are of.
#ifndef SOTTO_COMMON_CHECKPOINT_TESTING_NUMBERED_CHECKPOINTS_H_
#define SOTTO_COMMON_CHECKPOINT_TESTING_NUMBERED_CHECKPOINTS_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/checkpoint/checkpoint_retention.h"
#include "common/checkpoint/checkpoint_writer.h"
#include "common/checkpoint/file_operations.h"

namespace sotto::checkpoint {

// Saves one of two ranks, which write at the same time, as a training does: shards, commit,
// retention.
absl::Status SaveNumbered(const std::string& root, const CheckpointName& name,
                          const Retention& retention, FileOperations& files);

// The same, one rank after the other: the same operations in the same order each time.
absl::Status SaveNumberedInOrder(const std::string& root, const CheckpointName& name,
                                 const Retention& retention, FileOperations& files);

// The name of the checkpoint that a start under `root` loads. NOT_FOUND: there is none. DATA_LOSS:
// none can be read, or one was loaded whose values are not its own.
absl::StatusOr<CheckpointName> LoadNumbered(const std::string& root);

}  // namespace sotto::checkpoint

#endif  // SOTTO_COMMON_CHECKPOINT_TESTING_NUMBERED_CHECKPOINTS_H_
