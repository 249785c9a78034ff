// Saves checkpoints while training goes on.
#ifndef SOTTO_WORKER_TRAIN_SAVER_H_
#define SOTTO_WORKER_TRAIN_SAVER_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "worker/checkpoint/checkpointer.h"
#include "worker/fsdp/sharded_parameters.h"
#include "worker/train/train_observer.h"

namespace sotto::train {

// 1. Begin: every rank's own thread starts to write its shards. Training goes on; Step waits until
//    they were read before it changes them (Checkpointer::AwaitRead).
// 2. After each step ranks add up Progress(), in a reduction that they make anyhow, and Advance:
//    once all have written, rank 0's thread commits, and one of the next Advances reports it.
// 3. Begin and Finish wait for what is in the making: one checkpoint at a time.
// Errors of the background surface at the next Advance, Begin or Finish. Trainer thread only.
class Saver {
 public:
  // All borrowed.
  Saver(checkpoint::Checkpointer& checkpointer, fsdp::ShardedParameters& parameters,
        TrainObserver& observer)
      : checkpointer_(checkpointer), parameters_(parameters), observer_(observer) {}

  // Of one rank; sums of all ranks.
  struct Counts {
    double writing = 0;
    double failed = 0;
  };

  // Collective. `step`: the first step not in the checkpoint.
  absl::Status Begin(int64_t step, absl::Span<const checkpoint::ShardState> shards,
                     absl::Span<const checkpoint::NumberState> numbers);

  // Of the checkpoint that was begun last; too late, and without effect, after the next Advance.
  void SetEvaluationLoss(double evaluation_loss) {
    if (is_writing_) checkpointer_.SetEvaluationLoss(evaluation_loss);
  }

  // Zeros when nothing is in the making.
  Counts Progress();

  // UNAVAILABLE on every rank when one could not write; on rank 0, when it could not commit.
  absl::Status Advance(const Counts& sums);

  // Collective. On return what was begun counts, on every rank.
  absl::Status Finish();

 private:
  absl::Status FinishWriting();
  absl::Status FinishCommit();
  void AllHaveWritten();

  checkpoint::Checkpointer& checkpointer_;
  fsdp::ShardedParameters& parameters_;
  TrainObserver& observer_;
  int64_t step_ = 0;
  bool is_writing_ = false;     // the same on all ranks
  bool is_committing_ = false;  // rank 0
  absl::Status written_;        // this rank's, once it has written
};

}  // namespace sotto::train

#endif  // SOTTO_WORKER_TRAIN_SAVER_H_
