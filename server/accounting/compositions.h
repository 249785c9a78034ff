// Which steps of a job are compositions of its mechanism.
//
// Poisson and full batches: every step is one composition, of the noise segment that it lies in.
// Shuffled batches: a record is in one batch of an epoch, so the whole epoch is one composition of
// the unsampled mechanism, due with its first step. A step that runs again shows its records a
// second time, which is a further composition of its whole epoch.
#ifndef SOTTO_SERVER_ACCOUNTING_COMPOSITIONS_H_
#define SOTTO_SERVER_ACCOUNTING_COMPOSITIONS_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"

namespace sotto::accounting {

// Immutable: thread-safe.
class Compositions {
 public:
  // One segment; every step is a composition.
  Compositions() = default;
  // Segments begin at `first_steps`, the first at 0. INVALID_ARGUMENT: none, not ascending, a
  // segment that begins inside an epoch, steps_per_epoch < 1.
  static absl::StatusOr<Compositions> Create(std::vector<int64_t> first_steps,
                                             int64_t steps_per_epoch);

  // Compositions, by segment, that an attempt adds which runs steps [first, end) in order.
  // `released_end`: the end of the steps that earlier attempts may have run. An attempt that goes
  // on inside an epoch where they ended finds that epoch's composition paid.
  //
  // Guarantee: over any sequence of attempts, an epoch's compositions are at least the number of
  // times that any of its steps ran. Proof: a first run of a step is covered by the composition of
  // whoever entered its epoch first; a second run belongs to an attempt that began before the end
  // of the released steps, which adds one for every epoch that it touches.
  // Needs 0 <= first; empty ranges add nothing.
  std::vector<int64_t> Count(int64_t first, int64_t end, int64_t released_end) const;

  size_t num_segments() const { return first_steps_.size(); }
  const std::vector<int64_t>& first_steps() const { return first_steps_; }
  int64_t steps_per_epoch() const { return steps_per_epoch_; }
  // The segment that a step lies in.
  size_t SegmentOf(int64_t step) const;

  friend bool operator==(const Compositions&, const Compositions&) = default;

 private:
  Compositions(std::vector<int64_t> first_steps, int64_t steps_per_epoch);

  std::vector<int64_t> first_steps_ = {0};
  int64_t steps_per_epoch_ = 1;
};

}  // namespace sotto::accounting

#endif  // SOTTO_SERVER_ACCOUNTING_COMPOSITIONS_H_
