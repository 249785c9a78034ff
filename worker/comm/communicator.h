// The only door to collectives.
#ifndef SOTTO_WORKER_COMM_COMMUNICATOR_H_
#define SOTTO_WORKER_COMM_COMMUNICATOR_H_

#include "absl/status/status.h"
#include "absl/types/span.h"

namespace sotto::comm {

// One rank's end of a group of processes. All ranks make the same calls, with the same sizes, in
// the same order; a call returns when this rank's part is done. Sums are formed in rank order, so
// that they have the same bits on every rank and in every run. Used by one thread at a time, except
// Abort().
//
// Every call fails with ABORTED once any rank called Abort(), with UNAVAILABLE once a peer's
// process has ended (promptly, also for a rank that already waits), and with INVALID_ARGUMENT on
// sizes that do not fit. After a failure the group is of no more use.
class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int world_size() const = 0;

  // `whole` receives every rank's `shard`, rank 0's first. whole.size() == world_size *
  // shard.size(). `shard` may lie inside `whole` at its own place.
  virtual absl::Status AllGather(absl::Span<const float> shard, absl::Span<float> whole) = 0;

  // Adds slice `rank` of every rank's `whole` to `accumulator`: rank 0's first, then rank 1's, each
  // added to what is there. whole.size() == world_size * accumulator.size().
  virtual absl::Status ReduceScatterAdd(absl::Span<const float> whole,
                                        absl::Span<float> accumulator) = 0;

  // Replaces `values` by their sums over the ranks. A few values: they travel in one piece (at most
  // 1024).
  virtual absl::Status AllReduceSum(absl::Span<double> values) = 0;

  // Returns once every rank has called it.
  virtual absl::Status Barrier() = 0;

  // Makes every rank's pending and later calls fail with ABORTED. Any thread, any number of times.
  virtual void Abort() = 0;
};

}  // namespace sotto::comm

#endif  // SOTTO_WORKER_COMM_COMMUNICATOR_H_
