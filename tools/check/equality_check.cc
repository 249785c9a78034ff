#include "tools/check/equality_check.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"
#include "tools/check/trained_model.h"

namespace sotto::check {
namespace {

// NaN is larger than everything.
double Larger(double a, double b) { return std::isnan(b) || b > a ? b : a; }

absl::Status CheckWorldSizes(const EqualityOptions& options) {
  const std::set<int> distinct(options.world_sizes.begin(), options.world_sizes.end());
  if (distinct.size() >= 2) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "--world_sizes must name at least two different ones to compare, as in 1,2, but is ",
      absl::StrJoin(options.world_sizes, ",")));
}

absl::Status CheckRecords(const EqualityOptions& options) {
  const RunSettings& settings = options.settings;
  const int widest = *std::max_element(options.world_sizes.begin(), options.world_sizes.end());
  if (settings.records % settings.micro_batch == 0 &&
      settings.records / settings.micro_batch >= widest) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "--records must be a multiple of --micro_batch ", settings.micro_batch,
      " and make a micro-batch for each of ", widest, " ranks, but is ", settings.records));
}

struct Trained {
  TrainedModel same;      // every rank has the same records
  TrainedModel distinct;  // the ranks share them
};

absl::StatusOr<Trained> TrainBoth(const EqualityOptions& options, int world_size) {
  RunSettings settings = options.settings;
  settings.uses_adamw = true;
  settings.full_length = true;
  settings.batch = settings.records;  // all, every step
  settings.threads = 1;               // must not differ between world sizes
  settings.world_size = world_size;
  Trained trained;
  ASSIGN_OR_RETURN(trained.distinct, TrainModel(settings, options.mode));
  // One micro-batch for each rank: what differs between world sizes is the sum over ranks alone.
  settings.records = settings.micro_batch;
  settings.batch = settings.records;
  settings.copies = world_size;
  settings.steps = options.same_steps;
  settings.learning_rate = options.same_learning_rate;
  ASSIGN_OR_RETURN(trained.same, TrainModel(settings, options.mode));
  return trained;
}

void CompareSame(const TrainedModel& model, const TrainedModel& first, EqualityRow& row) {
  row.parameter_sum = std::accumulate(model.parameters.begin(), model.parameters.end(), 0.0);
  for (size_t i = 0; i < first.parameters.size(); ++i) {
    const double expected = first.parameters[i];
    const double difference = std::fabs(model.parameters[i] - expected);
    row.largest_difference = Larger(row.largest_difference, difference);
    row.largest_scaled_difference =
        Larger(row.largest_scaled_difference, difference / std::max(1.0, std::fabs(expected)));
  }
  for (size_t step = 0; step < first.run.steps.size(); ++step) {
    const double expected = first.run.steps[step].gradient_norm;
    row.largest_norm_difference =
        Larger(row.largest_norm_difference,
               std::fabs(model.run.steps[step].gradient_norm - expected) / expected);
  }
}

// Bytes of a rank that holds an equal part of every unit: four fp32 values for what is trained, one
// for what is frozen. Padding to whole blocks of 128 bytes is counted.
int64_t IdealShardBytes(const v1::JobPlan& plan) {
  int64_t trained = 0, padded = 0;
  for (const v1::UnitPlan& unit : plan.sharding().units()) {
    trained += unit.trained_elements();
    padded += unit.padded_elements();
  }
  const int64_t frozen = plan.train().parameters() - trained;
  const int64_t ranks = plan.sharding().world_size();
  const int64_t frozen_padding = frozen == 0 ? 0 : 32 * ranks * plan.sharding().units_size();
  return (16 * padded + 4 * (frozen + frozen_padding)) / ranks;
}

void SetMemory(const TrainedModel& model, EqualityRow& row) {
  const v1::MemoryPlan& plan = model.plan.memory();
  row.ideal_shard_bytes = IdealShardBytes(model.plan);
  row.shard_bytes = plan.parameters_bytes() + plan.gradient_bytes() + plan.optimizer_bytes();
  row.planned_held_bytes = row.shard_bytes + plan.slots_bytes();
  row.held_bytes = model.run.tensor_held_bytes;
  row.planned_tensor_bytes = row.planned_held_bytes + plan.activations_bytes() +
                             plan.held_gradients_bytes() + plan.workspace_bytes();
  row.tensor_peak_bytes = model.run.tensor_peak_bytes;
}

EqualityRow RowOf(int world_size, const Trained& trained, const Trained& first) {
  EqualityRow row{.world_size = world_size};
  CompareSame(trained.same, first.same, row);
  const RecordedRun& run = trained.distinct.run;
  row.first_loss = run.steps.front().loss;
  row.last_loss = run.FinalLoss();
  row.differing_parameters =
      CountDifferentBits(trained.distinct.parameters, first.distinct.parameters);
  SetMemory(trained.distinct, row);
  for (const v1::UnitPlan& unit : trained.distinct.plan.sharding().units()) {
    row.padding_elements += unit.padded_elements() - unit.trained_elements();
  }
  row.nonzero_padding = run.nonzero_padding + trained.same.run.nonzero_padding;
  return row;
}

}  // namespace

std::string EqualityRow::Fault(const EqualityLimits& limits) const {
  if (!(largest_scaled_difference <= limits.parameter)) {
    return absl::StrFormat("with the same records a parameter differs by %.3e of max(1, |w|)",
                           largest_scaled_difference);
  }
  if (!(largest_norm_difference <= limits.gradient_norm)) {
    return absl::StrFormat("with the same records a step's gradient norm differs by %.3e of itself",
                           largest_norm_difference);
  }
  if (differing_parameters != 0) {
    return absl::StrFormat("with distinct records %d parameters differ", differing_parameters);
  }
  if (!(LossFall() >= limits.loss_fall)) {
    return absl::StrFormat("the loss falls %.3g times, not %.3g", LossFall(), limits.loss_fall);
  }
  if (nonzero_padding != 0) {
    return absl::StrFormat("%d elements of padding are not zero", nonzero_padding);
  }
  return MemoryFault(limits);
}

std::string EqualityRow::MemoryFault(const EqualityLimits& limits) const {
  if (shard_bytes > ideal_shard_bytes) {
    return absl::StrFormat("a rank's shards take %d bytes, beyond an equal part's %d", shard_bytes,
                           ideal_shard_bytes);
  }
  if (held_bytes < shard_bytes) {
    return absl::StrFormat("a rank's tensors were measured as %d bytes, fewer than its shards' %d",
                           held_bytes, shard_bytes);
  }
  if (held_bytes > planned_held_bytes + limits.loose_bytes) {
    return absl::StrFormat("a rank's tensors hold %d bytes, shards and slots are %d", held_bytes,
                           planned_held_bytes);
  }
  if (tensor_peak_bytes > planned_tensor_bytes) {
    return absl::StrFormat("a rank's tensors were %d bytes at once, and the plan has %d",
                           tensor_peak_bytes, planned_tensor_bytes);
  }
  return "";
}

bool EqualityReport::Agrees() const {
  return std::all_of(rows.begin(), rows.end(),
                     [&](const EqualityRow& row) { return row.Fault(limits).empty(); });
}

absl::StatusOr<EqualityReport> CompareEquality(
    const EqualityOptions& options, const std::function<void(const std::string&)>& progress) {
  RETURN_IF_ERROR(CheckWorldSizes(options));
  RETURN_IF_ERROR(CheckRecords(options));
  EqualityReport report{.options = options};
  Trained first;
  for (const int world_size : options.world_sizes) {
    ASSIGN_OR_RETURN(Trained trained, TrainBoth(options, world_size));
    progress(absl::StrFormat("%d rank%s: %.1f s with the same records, %.1f s with distinct ones",
                             world_size, world_size == 1 ? "" : "s", trained.same.seconds,
                             trained.distinct.seconds));
    report.widest = trained.distinct.plan;
    if (report.rows.empty()) first = trained;
    report.rows.push_back(RowOf(world_size, trained, first));
  }
  return report;
}

}  // namespace sotto::check
