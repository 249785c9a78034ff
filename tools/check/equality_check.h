// One training at several world sizes, twice: every rank has the same records, and the ranks share
// distinct ones. The first must give the same model up to rounding, the second the same bits.
#ifndef SOTTO_TOOLS_CHECK_EQUALITY_CHECK_H_
#define SOTTO_TOOLS_CHECK_EQUALITY_CHECK_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/sotto/v1/plan.pb.h"
#include "tools/check/run_settings.h"

namespace sotto::check {

struct EqualityOptions {
  // Of the training on distinct records: AdamW, full batches of full-length records. world_size,
  // threads and copies are not used.
  RunSettings settings;
  // Of the training on the same records, which are one micro-batch: short and slow, since whatever
  // the sum over ranks rounds differently grows with every step.
  int64_t same_steps = 10;
  double same_learning_rate = 1e-3;
  ModeChoice mode{.name = "no_dp"};
  std::vector<int> world_sizes = {1, 2, 4, 8};  // the first is what the others are compared with
};

struct EqualityLimits {
  double parameter = 1e-6;      // |difference| over max(1, |parameter|)
  double gradient_norm = 1e-5;  // relative, at every step
  double loss_fall = 10;        // first loss over last, on distinct records
  // What tensors may hold after the last step beside shards and slots: positions, counters. Less
  // than a unit of any model worth sharding.
  int64_t loose_bytes = 8192;
};

struct EqualityRow {
  int world_size = 0;

  // The same records on every rank: as many copies in the batch as there are ranks.
  double parameter_sum = 0;
  double largest_difference = 0;         // of a parameter, from the first row's
  double largest_scaled_difference = 0;  // the same over max(1, |parameter|)
  double largest_norm_difference = 0;    // of a step's gradient norm, relative

  // Distinct records, the same at every world size.
  double first_loss = 0;
  double last_loss = 0;
  int64_t differing_parameters = 0;  // in any bit, from the first row's

  // Of the second training.
  // Of the rank with most; planned: by the job's memory plan.
  int64_t ideal_shard_bytes = 0;     // parameters, gradient and AdamW's state over the world size
  int64_t shard_bytes = 0;           // the same, planned
  int64_t planned_held_bytes = 0;    // with the slots: what lives as long as the training
  int64_t held_bytes = 0;            // measured: all tensors after the last step
  int64_t planned_tensor_bytes = 0;  // all tensors at once
  int64_t tensor_peak_bytes = 0;     // measured: the most that all tensors were
  int64_t padding_elements = 0;      // of the whole model
  int64_t nonzero_padding = 0;       // elements that should be zero and are not, in both trainings

  double LossFall() const { return first_loss / last_loss; }
  // "" or what is wrong. NaN is wrong.
  std::string Fault(const EqualityLimits& limits) const;
  // Of memory alone: shards are an equal part of the state, and tensors stay within the plan.
  std::string MemoryFault(const EqualityLimits& limits) const;
};

struct EqualityReport {
  EqualityOptions options;
  EqualityLimits limits;
  std::vector<EqualityRow> rows;
  v1::JobPlan widest;  // at the last world size, for the padding of each unit

  bool Agrees() const;
};

// One thread a rank. `progress` gets a line for every training. INVALID_ARGUMENT: records that
// cannot be dealt out evenly to the ranks, fewer than two different world sizes, and what planning
// refuses. INTERNAL: a rank failed.
absl::StatusOr<EqualityReport> CompareEquality(
    const EqualityOptions& options, const std::function<void(const std::string&)>& progress);

}  // namespace sotto::check

#endif  // SOTTO_TOOLS_CHECK_EQUALITY_CHECK_H_
