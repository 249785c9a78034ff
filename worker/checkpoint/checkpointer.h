// Saves and restores a rank's shards.
#ifndef SOTTO_WORKER_CHECKPOINT_CHECKPOINTER_H_
#define SOTTO_WORKER_CHECKPOINT_CHECKPOINTER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "ATen/core/Tensor.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/base/mutex.h"
#include "common/checkpoint/checkpoint_hold.h"
#include "common/checkpoint/checkpoint_retention.h"
#include "common/checkpoint/file_operations.h"
#include "proto/sotto/v1/checkpoint.pb.h"
#include "worker/checkpoint/background_task.h"

namespace sotto::checkpoint {

// One flat fp32 shard: this rank's slice of the padded unit. The tensor shares the storage it is
// saved from and read into.
struct ShardState {
  std::string unit;
  std::string kind;  // "master", or a name of optimizer state
  at::Tensor values;
};

// One public number that the training goes on with, saved from and read into `value`.
struct NumberState {
  std::string name;
  double* value = nullptr;
};

// Writes in the background, straight from the shards: no copy is held. Whoever changes shards first
// waits until they were read, which a whole forward and backward pass lies before.
//   every rank: StartWriting ... AwaitRead (before the shards change) ... AwaitWritten
//   once every rank has written, which the caller finds out (worker/checkpoint knows no
//   collectives), rank 0: StartCommit ... AwaitCommitted
// One checkpoint is in the making at a time. Trainer thread only.
class Checkpointer {
 public:
  struct Options {
    std::string directory;  // root of the job's checkpoints
    int rank = 0;
    int world_size = 1;
    bool commits =
        true;  // of the ranks 0: the one that does; the others hold replicas of its shards
    Retention retention;
    // job, attempt, model, optimizer, units (names, padded_elements, tensors), sampler, accountant
    // (of all planned steps); the rest is filled in for each checkpoint.
    v1::CheckpointManifest manifest;
    FileOperations* files = &DiskOperations::Get();
  };

  explicit Checkpointer(Options options) : options_(std::move(options)) {}

  // `step`: the first step not in it. `numbers` are equal on all ranks, and read at once. The
  // shards' storage must stay until AwaitWritten.
  void StartWriting(int64_t step, absl::Span<const ShardState> shards,
                    absl::Span<const NumberState> numbers = {});

  // Returns when no value of the shards is still to be read; at once when nothing is written.
  void AwaitRead() ABSL_LOCKS_EXCLUDED(mutex_);

  bool IsWriting() const { return is_writing_ && task_.IsRunning(); }
  // UNAVAILABLE: the disk. OK when nothing is written.
  absl::Status AwaitWritten();

  // Of the model in the checkpoint that was last written, before StartCommit: what best ones are
  // kept by.
  void SetEvaluationLoss(double evaluation_loss) { saving_.set_evaluation_loss(evaluation_loss); }

  // Rank 0, after every rank wrote: commits, then removes what need not be kept.
  void StartCommit();
  bool IsCommitting() const { return is_committing_ && task_.IsRunning(); }
  // The directory. Errors: CommitCheckpoint's.
  absl::StatusOr<std::string> AwaitCommitted();

  struct Restored {
    int64_t step = 0;  // first step to run
    std::string directory;
    std::vector<std::string>
        notes;  // damaged checkpoints that were passed over, for the job's events
  };

  // Reads the newest whole checkpoint into `shards` and `numbers`, whatever world size, strategy
  // and wrapping wrote it: tensors are found by name. Every rank finds the same one. Nothing is
  // changed on error, and no second copy of the shards is made. Rank 0 holds the checkpoint until
  // it has committed one itself, so that nobody removes it before, and removes what earlier
  // attempts left half-written. NOT_FOUND: there is none: a fresh start. DATA_LOSS: all are
  // damaged. FAILED_PRECONDITION: it is of another model, optimizer or sampler, or has other
  // numbers.
  absl::StatusOr<Restored> Restore(absl::Span<const ShardState> shards,
                                   absl::Span<const NumberState> numbers = {});

 private:
  const Options options_;
  CheckpointHold resumed_from_;
  v1::CheckpointManifest saving_;  // of the checkpoint in the making
  std::string committed_;          // its directory, set by the task
  bool is_writing_ = false;
  bool is_committing_ = false;
  Mutex mutex_;
  bool is_read_ ABSL_GUARDED_BY(mutex_) = true;
  BackgroundTask task_;  // Last: it uses the others.
};

}  // namespace sotto::checkpoint

#endif  // SOTTO_WORKER_CHECKPOINT_CHECKPOINTER_H_
