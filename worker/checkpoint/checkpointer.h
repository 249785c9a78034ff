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
#include "proto/sotto/v1/checkpoint.pb.h"

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

// Trainer thread only. Barriers between ranks are the caller's (worker/checkpoint knows no
// collectives):
//   every rank WriteShard -> barrier -> rank 0 Commit -> barrier.
class Checkpointer {
 public:
  struct Options {
    std::string directory;  // root of the job's checkpoints
    int rank = 0;
    int world_size = 1;
    int keep = 3;
    // job, attempt, model, optimizer, units (names, padded_elements, tensors); the rest is filled
    // in at Commit.
    v1::CheckpointManifest manifest;
  };

  explicit Checkpointer(Options options) : options_(std::move(options)) {}

  // `step`: the first step not in it. UNAVAILABLE: the disk.
  absl::Status WriteShard(int64_t step, absl::Span<const ShardState> shards);

  // Rank 0, after every rank wrote. `numbers` are equal on all ranks. Returns the directory.
  absl::StatusOr<std::string> Commit(int64_t step, absl::Span<const NumberState> numbers = {});

  struct Restored {
    int64_t step = 0;  // first step to run
    std::string directory;
    std::vector<std::string>
        notes;  // damaged checkpoints that were passed over, for the job's events
  };

  // Reads the newest whole checkpoint into `shards` and `numbers`, whatever world size wrote it.
  // Every rank finds the same one. Nothing is changed on error. NOT_FOUND: there is none: a fresh
  // start. DATA_LOSS: all are damaged. FAILED_PRECONDITION: it is of another model or optimizer, or
  // has other numbers.
  absl::StatusOr<Restored> Restore(absl::Span<const ShardState> shards,
                                   absl::Span<const NumberState> numbers = {}) const;

 private:
  Options options_;
};

}  // namespace sotto::checkpoint

#endif  // SOTTO_WORKER_CHECKPOINT_CHECKPOINTER_H_
