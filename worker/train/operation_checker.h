// Debug mode: every operation of the schedule checked before and after it runs.
#ifndef SOTTO_WORKER_TRAIN_OPERATION_CHECKER_H_
#define SOTTO_WORKER_TRAIN_OPERATION_CHECKER_H_

#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "ATen/core/Tensor.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "common/layout/execution_schedule.h"
#include "worker/fsdp/sharded_parameters.h"

namespace sotto::train {

// Before an operation: the units that it reads are gathered where it reads them and unchanged
// since, the gradient slot that it writes or reduces is theirs, and all ranks are at the same
// operation. After it: gathered parameters, whole gradients and reduced shards are finite and their
// padding is zero. Under NO_SHARD, where nothing is gathered, a unit's parameters are looked at
// before the first operation of the schedule that reads them. The first offence is the same error
// on every rank: it names the operation, the unit, the rank and what is wrong, and never a value.
//
// Trainer thread only. Before and Finish are collective: small all-gathers.
class OperationChecker {
 public:
  struct Options {
    // Also activations, losses and output gradients must be finite. These are of single records, so
    // that the error would tell of them: only for jobs that promise nothing.
    bool checks_activations = false;
  };

  // Borrows the parameters.
  OperationChecker(fsdp::ShardedParameters& parameters, const Options& options)
      : parameters_(parameters), options_(options) {}

  // INTERNAL, with FailureReason::kPlanCannotRun: an offence of any rank, in this operation's state
  // or after the one before; other errors are the communicator's.
  absl::Status Before(const layout::ScheduledOperation& operation);

  // Notes an offence for the next Before or Finish. `flowing`: what the operation hands on, if
  // anything.
  void After(const layout::ScheduledOperation& operation, const at::Tensor& flowing);

  // The schedule has ended. Errors as Before.
  absl::Status Finish();

 private:
  void CheckState(const layout::ScheduledOperation& operation);
  void CheckGather(const layout::ScheduledOperation& operation);
  bool AreOfOneBlock(int a, int b) const;
  void CheckGathered(const layout::ScheduledOperation& operation);
  void CheckWholeShard(int unit, int slot);
  void CheckGradientSlot(const layout::ScheduledOperation& operation);
  void CheckGradient(const layout::ScheduledOperation& operation);
  void CheckFlat(const at::Tensor& flat, int unit, bool with_frozen, absl::string_view what);
  void CheckShard(int unit);
  void Offend(int unit, absl::string_view what);
  absl::Status Exchange(const std::string& operation);

  fsdp::ShardedParameters& parameters_;
  const Options options_;
  int64_t count_ = 0;  // operations so far
  std::string current_;
  std::string offence_;                     // the first of this rank
  std::map<int, std::set<int>> gathered_;   // units in each slot
  std::map<int, uint64_t> contents_;        // of a unit, as it was gathered or first read
  std::map<int, std::set<int>> gradients_;  // units whose gradient is in each slot
};

}  // namespace sotto::train

#endif  // SOTTO_WORKER_TRAIN_OPERATION_CHECKER_H_
