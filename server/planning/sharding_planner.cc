#include "server/planning/sharding_planner.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/crypto/sha256.h"
#include "common/layout/flat_layout.h"
#include "common/layout/gradient_mode.h"
#include "common/layout/memory.h"
#include "common/spec/model_layout.h"

namespace sotto::planning {
namespace {

// Of blocks: while one is reduced, the next is written.
constexpr int kGradientSlots = 2;

// What a micro-batch holds when nothing else decides: enough for matrix products at full speed,
// small enough for per-example gradients to stay near the cores: 16 x 128 and 8 x 512 tokens.
constexpr int64_t kMicroBatchTokens = 2048;
constexpr int32_t kSmallestPreferred = 8;
constexpr int32_t kLargestPreferred = 32;

int OptimizerStates(const v1::OptimizerSpec& optimizer) {
  if (!optimizer.has_sgd()) return 2;
  return optimizer.sgd().momentum() > 0 ? 1 : 0;
}

// Bytes that one rank may use.
int64_t MemoryLimit(const v1::JobSpec& spec, const HostFacts& host) {
  if (spec.gradient().memory_limit_bytes() > 0) return spec.gradient().memory_limit_bytes();
  if (host.memory_bytes > 0) return host.memory_bytes / spec.workers().count();
  return std::numeric_limits<int64_t>::max();
}

class Placement {
 public:
  static absl::StatusOr<Placement> Create(const v1::JobSpec& spec) {
    ASSIGN_OR_RETURN(layout::ModelDescription model, spec::DescribeModel(spec.model()));
    ASSIGN_OR_RETURN(layout::FlatLayout layout,
                     layout::FlatLayout::Create(model, spec.workers().count()));
    return Placement(spec, std::move(model), std::move(layout));
  }

  layout::MemoryEstimate Memory(int32_t micro_batch_size) const {
    return layout::EstimateMemory(
        model_, layout_,
        {.gathered_slots = spec_.workers().gathered_slots(),
         .gradient_slots = kGradientSlots,
         .mode = mode_,
         .micro_batch_size = micro_batch_size,
         .longest_length = spec_.data().lengths(spec_.data().lengths_size() - 1),
         .optimizer_states = OptimizerStates(spec_.train().optimizer())});
  }

  // An unset size: the largest within the limit, 0 when none is.
  int32_t PickMicroBatch(int64_t limit, int32_t preferred) const {
    int32_t size = preferred;
    while (size > 0 && Memory(size).total_bytes() > limit) size = size > 8 ? size / 2 : size - 1;
    return size;
  }

  // More than a rank's share of an expected batch would be filled with dummies.
  int32_t PreferredMicroBatch() const {
    const int64_t longest = spec_.data().lengths(spec_.data().lengths_size() - 1);
    const auto tokens = static_cast<int32_t>(kMicroBatchTokens / longest);
    const double share = spec_.train().expected_batch_size() / spec_.workers().count();
    const auto needed = static_cast<int32_t>(std::clamp(share, 1.0, 1024.0));
    return std::min(std::clamp(tokens, kSmallestPreferred, kLargestPreferred), needed);
  }

  absl::StatusOr<v1::ShardingPlan> Sharding(const HostFacts& host) const {
    const layout::ScheduleOptions options{.stages = model_.stages,
                                          .kept = mode_.kept,
                                          .gathered_slots = spec_.workers().gathered_slots(),
                                          .gradient_slots = kGradientSlots};
    ASSIGN_OR_RETURN(const layout::ExecutionSchedule schedule, layout::BuildSchedule(options, 1));
    ASSIGN_OR_RETURN(const std::string text, layout::CanonicalScheduleText(options));
    const layout::CollectiveCounts counts = layout::CountCollectives(schedule, layout_);

    v1::ShardingPlan plan;
    plan.set_world_size(spec_.workers().count());
    plan.set_threads_per_rank(std::max(1, host.cores / spec_.workers().count()));
    plan.set_gathered_slots(options.gathered_slots);
    plan.set_gradient_slots(options.gradient_slots);
    for (int i = 0; i < layout_.num_units(); ++i) {
      v1::UnitPlan& unit = *plan.add_units();
      unit.set_name(model_.units[i].name);
      unit.set_elements(layout_.unit(i).elements);
      unit.set_padded_elements(layout_.unit(i).padded_elements);
    }
    plan.set_schedule_hash(crypto::HexOf(crypto::Sha256Of(text)));
    plan.set_gathers_per_micro_batch(counts.block_gathers);
    plan.set_reduces_per_micro_batch(counts.reduces);
    plan.set_bytes_per_micro_batch(counts.bytes_received);
    *plan.mutable_mode() = spec::ModeMessage(mode_);
    plan.set_mode_name(spec_.gradient().mode());
    // Also with one rank: the launcher creates it for every attempt.
    plan.set_communicator_bytes(layout::CommunicatorBytes(layout_));
    return plan;
  }

  int64_t parameters() const { return layout_.total_elements(); }

 private:
  Placement(const v1::JobSpec& spec, layout::ModelDescription model, layout::FlatLayout layout)
      : spec_(spec),
        model_(std::move(model)),
        layout_(std::move(layout)),
        mode_(*layout::FindMode(spec.gradient().mode())) {}

  const v1::JobSpec& spec_;  // outlives
  layout::ModelDescription model_;
  layout::FlatLayout layout_;
  layout::UnitMode mode_;
};

v1::MemoryPlan MemoryMessage(const layout::MemoryEstimate& estimate) {
  v1::MemoryPlan plan;
  plan.set_parameters_bytes(estimate.parameters_bytes);
  plan.set_gradient_bytes(estimate.gradient_bytes);
  plan.set_optimizer_bytes(estimate.optimizer_bytes);
  plan.set_slots_bytes(estimate.slots_bytes);
  plan.set_activations_bytes(estimate.activations_bytes);
  plan.set_held_gradients_bytes(estimate.held_gradients_bytes);
  plan.set_workspace_bytes(estimate.workspace_bytes);
  plan.set_communicator_bytes(estimate.communicator_bytes);
  plan.set_baseline_bytes(estimate.baseline_bytes);
  plan.set_total_bytes(estimate.total_bytes());
  return plan;
}

// Sets size and memory; false, with the reason, when nothing fits.
bool ChooseMicroBatch(const v1::JobSpec& spec, const HostFacts& host, const Placement& placement,
                      Rules& rules, PlacedJob& job) {
  const int64_t limit = MemoryLimit(spec, host);
  const bool is_given = spec.train().micro_batch_size() > 0;
  const int32_t wanted =
      is_given ? spec.train().micro_batch_size() : placement.PreferredMicroBatch();
  job.micro_batch_size = is_given ? wanted : placement.PickMicroBatch(limit, wanted);
  job.memory_decided = job.micro_batch_size < wanted;
  const layout::MemoryEstimate memory =
      placement.Memory(std::max<int32_t>(1, job.micro_batch_size));
  job.memory = MemoryMessage(memory);
  return rules.Require(
      memory.total_bytes() <= limit,
      is_given ? "train.micro_batch_size" : "gradient.memory_limit_bytes",
      absl::StrCat(is_given ? "needs" : "is too small: even micro-batches of one example need", " ",
                   memory.total_bytes(), " bytes per rank, and the limit is ", limit),
      is_given ? absl::StrCat(wanted) : absl::StrCat(limit));
}

}  // namespace

std::optional<PlacedJob> PlaceJob(const v1::JobSpec& spec, const HostFacts& host, Rules& rules) {
  const absl::StatusOr<Placement> placement = Placement::Create(spec);
  if (!placement.ok()) {
    rules.Break("model", absl::StrCat("makes no model: ", placement.status().message()), "");
    return std::nullopt;
  }
  PlacedJob job;
  job.parameters = placement->parameters();
  if (!ChooseMicroBatch(spec, host, *placement, rules, job)) return std::nullopt;
  absl::StatusOr<v1::ShardingPlan> sharding = placement->Sharding(host);
  if (!sharding.ok()) {
    rules.Break("gradient.mode", absl::StrCat("has no schedule: ", sharding.status().message()),
                spec.gradient().mode());
    return std::nullopt;
  }
  job.sharding = *std::move(sharding);
  if (!rules.Require(
          host.communicator_bytes == 0 ||
              job.sharding.communicator_bytes() <= host.communicator_bytes,
          "workers.count",
          absl::StrCat("needs ", job.sharding.communicator_bytes(),
                       " bytes of shared memory, and the host gives ", host.communicator_bytes),
          spec.workers().count())) {
    return std::nullopt;
  }
  return job;
}

absl::StatusOr<layout::ScheduleOptions> ScheduleOptionsOf(const v1::JobPlan& plan) {
  ASSIGN_OR_RETURN(const layout::ModelDescription model, spec::DescribeModel(plan.spec().model()));
  ASSIGN_OR_RETURN(const layout::UnitMode mode, spec::ModeOf(plan.sharding().mode()));
  return layout::ScheduleOptions{.stages = model.stages,
                                 .kept = mode.kept,
                                 .gathered_slots = plan.sharding().gathered_slots(),
                                 .gradient_slots = plan.sharding().gradient_slots()};
}

}  // namespace sotto::planning
