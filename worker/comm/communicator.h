// The only door to collectives.
#ifndef SOTTO_WORKER_COMM_COMMUNICATOR_H_
#define SOTTO_WORKER_COMM_COMMUNICATOR_H_

#include "absl/status/status.h"
#include "absl/types/span.h"

namespace sotto::comm {

// Some ranks: first, first + stride, ..., `size` of them.
struct RankGroup {
  int first = 0;
  int stride = 1;
  int size = 1;

  int rank(int index) const { return first + index * stride; }
  int IndexOf(int rank) const { return (rank - first) / stride; }
  bool Contains(int rank) const {
    return rank >= first && (rank - first) % stride == 0 && IndexOf(rank) < size;
  }
};

// One rank's end of a group of processes. All ranks make the same calls, with the same sizes, in
// the same order; a call returns when this rank's part is done. Sums are formed in rank order, so
// that they have the same bits on every rank and in every run. Used by one thread at a time, except
// Abort().
//
// With a RankGroup, a collective joins the ranks of that group alone. Still every rank makes the
// call, each with its own group: groups of one call have one size and cover every rank once.
//
// Every call fails with ABORTED once any rank called Abort(), with UNAVAILABLE once a peer's
// process has ended (promptly, also for a rank that already waits), and with INVALID_ARGUMENT on
// sizes that do not fit or a group without this rank. After a failure the group is of no more use.
class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int world_size() const = 0;

  RankGroup everyone() const { return {.size = world_size()}; }

  // `whole` receives every rank's `shard`, the first rank's first. whole.size() == group.size *
  // shard.size(). `shard` may lie inside `whole` at its own place.
  virtual absl::Status AllGather(const RankGroup& group, absl::Span<const float> shard,
                                 absl::Span<float> whole) = 0;

  // Adds this rank's slice of every rank's `whole` to `accumulator`: the first rank's first, then
  // the second's, each added to what is there. whole.size() == group.size * accumulator.size().
  virtual absl::Status ReduceScatterAdd(const RankGroup& group, absl::Span<const float> whole,
                                        absl::Span<float> accumulator) = 0;

  // Replaces `values` by their sums over the ranks. Any number of floats.
  virtual absl::Status AllReduceSum(const RankGroup& group, absl::Span<float> values) = 0;

  // The same for a few values: they travel in one piece (at most 1024).
  virtual absl::Status AllReduceSum(const RankGroup& group, absl::Span<double> values) = 0;

  // Over all ranks.
  absl::Status AllGather(absl::Span<const float> shard, absl::Span<float> whole) {
    return AllGather(everyone(), shard, whole);
  }
  absl::Status ReduceScatterAdd(absl::Span<const float> whole, absl::Span<float> accumulator) {
    return ReduceScatterAdd(everyone(), whole, accumulator);
  }
  absl::Status AllReduceSum(absl::Span<float> values) { return AllReduceSum(everyone(), values); }
  absl::Status AllReduceSum(absl::Span<double> values) { return AllReduceSum(everyone(), values); }

  // Returns once every rank has called it.
  virtual absl::Status Barrier() = 0;

  // Makes every rank's pending and later calls fail with ABORTED. Any thread, any number of times.
  virtual void Abort() = 0;
};

}  // namespace sotto::comm

#endif  // SOTTO_WORKER_COMM_COMMUNICATOR_H_
