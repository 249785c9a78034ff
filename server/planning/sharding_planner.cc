#include "server/planning/sharding_planner.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/crypto/sha256.h"
#include "common/layout/flat_layout.h"
#include "common/layout/gradient_mode.h"
#include "common/layout/layer_rules.h"
#include "common/layout/memory.h"
#include "common/layout/mode_choice.h"
#include "common/layout/schedule_options.h"
#include "common/layout/strategy.h"
#include "common/spec/model_layout.h"
#include "server/planning/device_profiles.h"

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

int ThreadsPerRank(const v1::JobSpec& spec, const HostFacts& host) {
  return std::max(1, host.cores / spec.workers().count());
}

layout::Strategy StrategyOf(v1::Strategy strategy) {
  return layout::FindStrategy(v1::Strategy_Name(strategy)).value_or(layout::Strategy::kFullShard);
}

// What a reader would not expect of the layer of this unit under this mode.
const char* NoteOf(const layout::UnitDescription& unit, const layout::LayerDescription& layer,
                   const layout::UnitMode& mode) {
  const auto is_frozen = [&](int parameter) { return !unit.parameters[parameter].trainable; };
  if (std::all_of(layer.parameters.begin(), layer.parameters.end(), is_frozen)) return "frozen";
  if (mode.norm != layout::Norm::kNone && !layout::HasNormRule(layer.kind)) {
    return "no fast norm rule: own gradient";
  }
  const bool head = layer.kind == layout::LayerKind::kTiedEmbedding ||
                    (layer.kind == layout::LayerKind::kLinear && layer.in_last_stage &&
                     !layer.one_row_per_example);
  if (head && mode.kept == layout::Kept::kOutputGrads) {
    return "output gradients formed again from the weights: [B, T, V] is never held";
  }
  return "";
}

class Placement {
 public:
  static absl::StatusOr<Placement> Create(const v1::JobSpec& spec, const HostFacts& host) {
    ASSIGN_OR_RETURN(layout::ModelDescription model, spec::DescribeModel(spec.model()));
    RETURN_IF_ERROR(layout::CheckExamplesApart(model));
    const auto grid =
        layout::MakeRankGrid(StrategyOf(spec.workers().strategy()), spec.workers().count(),
                             spec.workers().shard_group_size());
    if (!grid.has_value()) return absl::InvalidArgumentError("its ranks make no groups");
    ASSIGN_OR_RETURN(layout::FlatLayout layout, layout::FlatLayout::Create(model, grid->shards));
    if (layout.trainable_elements() == 0) {
      return absl::InvalidArgumentError("model.adaptation leaves no parameter to train");
    }
    return Placement(spec, host, *grid, std::move(model), std::move(layout));
  }

  layout::MemoryEstimate Memory(const layout::ModeChoice& choice) const {
    return layout::EstimateMemory(model_, layout_,
                                  {.gathered_slots = spec_.workers().gathered_slots(),
                                   .gradient_slots = kGradientSlots,
                                   .mode = choice.mode,
                                   .micro_batch_size = choice.micro_batch_size,
                                   .longest_length = longest(),
                                   .optimizer_states = OptimizerStates(spec_.train().optimizer()),
                                   .strategy = strategy(),
                                   .layer_modes = choice.layer_modes,
                                   .world_size = grid_.world_size()});
  }

  // More than a rank's share of an expected batch would be filled with dummies.
  int32_t PreferredMicroBatch() const {
    const auto tokens = static_cast<int32_t>(kMicroBatchTokens / longest());
    const double share = spec_.train().expected_batch_size() / spec_.workers().count();
    const auto needed = static_cast<int32_t>(std::clamp(std::ceil(share), 1.0, 1024.0));
    return std::min(std::clamp(tokens, kSmallestPreferred, kLargestPreferred), needed);
  }

  // A named mode with its predicted times; micro-batches of `wanted` examples, fewer (0: none) when
  // they do not fit and are not fixed.
  absl::StatusOr<layout::ModeChoice> NamedChoice(int32_t wanted, bool fixed, int64_t limit) const {
    layout::ModeChoice choice;
    choice.mode = Deferred(*layout::FindMode(spec_.gradient().mode()));
    int64_t& size = choice.micro_batch_size;
    size = wanted;
    while (!fixed && size > 0 && Memory(choice).total_bytes() > limit) {
      size = size > 8 ? size / 2 : size - 1;
    }
    return WithTimes(std::move(choice));
  }

  // RESOURCE_EXHAUSTED: not even one example fits.
  absl::StatusOr<layout::ModeChoice> AutomaticChoice(int32_t wanted, bool fixed,
                                                     int64_t limit) const {
    ASSIGN_OR_RETURN(
        layout::ModeChoice choice,
        layout::ChooseMode(
            model_,
            {.length = longest(),
             .largest_micro_batch_size = wanted,
             .fixed_micro_batch_size = fixed,
             .memory_limit_bytes = limit == std::numeric_limits<int64_t>::max() ? 0 : limit},
            profile_, [this](const layout::ModeChoice& candidate) {
              return Memory(candidate).total_bytes();
            }));
    choice.mode = Deferred(choice.mode);
    for (std::vector<layout::UnitMode>& unit : choice.layer_modes) {
      for (layout::UnitMode& mode : unit) mode = Deferred(mode);
    }
    return choice;
  }

  absl::StatusOr<v1::ShardingPlan> Sharding(const layout::ModeChoice& choice) const {
    const layout::ScheduleOptions options =
        layout::MakeScheduleOptions(model_, {.mode = choice.mode,
                                             .layer_modes = choice.layer_modes,
                                             .strategy = strategy(),
                                             .gathered_slots = spec_.workers().gathered_slots(),
                                             .gradient_slots = kGradientSlots});
    ASSIGN_OR_RETURN(const std::string text, layout::CanonicalScheduleText(options));
    v1::ShardingPlan plan;
    plan.set_world_size(grid_.world_size());
    plan.set_strategy(spec_.workers().strategy());
    plan.set_shard_group_size(grid_.shards);
    plan.set_replicas(grid_.replicas);
    plan.set_threads_per_rank(profile_.threads);
    plan.set_gathered_slots(options.gathered_slots);
    plan.set_gradient_slots(options.gradient_slots);
    AddUnits(plan);
    AddLayers(choice, plan);
    plan.set_schedule_hash(crypto::HexOf(crypto::Sha256Of(text)));
    RETURN_IF_ERROR(SetCollectives(options, plan));
    *plan.mutable_mode() = spec::ModeMessage(choice.mode);
    plan.set_mode_name(spec_.gradient().mode());
    // Also with one rank: the launcher creates it for every attempt.
    plan.set_communicator_bytes(layout::CommunicatorBytes(layout_, grid_.world_size()));
    return plan;
  }

  // A rank's matrix products and what clipping adds, its share of the noise and of the optimizer.
  double SecondsPerStep(const layout::ModeChoice& choice) const {
    const double examples = spec_.train().expected_batch_size() / spec_.workers().count();
    const double micro_batches =
        std::max(1.0, std::ceil(examples / static_cast<double>(choice.micro_batch_size)));
    const auto owned = static_cast<double>(layout_.total_shard_elements());
    return micro_batches * (choice.matrix_seconds + choice.extra_seconds) +
           owned / profile_.normals + owned / profile_.updates;
  }

  const layout::FlatLayout& layout() const { return layout_; }
  const layout::DeviceProfile& profile() const { return profile_; }

 private:
  Placement(const v1::JobSpec& spec, const HostFacts& host, layout::RankGrid grid,
            layout::ModelDescription model, layout::FlatLayout layout)
      : spec_(spec),
        grid_(grid),
        model_(std::move(model)),
        layout_(std::move(layout)),
        profile_(ProfileFor(host.device_profiles, ThreadsPerRank(spec, host)).profile) {}

  layout::Strategy strategy() const { return StrategyOf(spec_.workers().strategy()); }
  int64_t longest() const { return spec_.data().lengths(spec_.data().lengths_size() - 1); }

  layout::UnitMode Deferred(layout::UnitMode mode) const {
    return spec_.gradient().deferred_norms() ? layout::WithDeferredNorms(mode) : mode;
  }

  absl::StatusOr<layout::ModeChoice> WithTimes(layout::ModeChoice choice) const {
    if (choice.micro_batch_size == 0) return choice;
    ASSIGN_OR_RETURN(layout::ModeChoice timed,
                     layout::PredictMode(model_, choice.mode, choice.layer_modes, longest(),
                                         choice.micro_batch_size, profile_));
    return timed;
  }

  void AddUnits(v1::ShardingPlan& plan) const {
    for (int i = 0; i < layout_.num_units(); ++i) {
      const layout::UnitLayout& layout = layout_.unit(i);
      v1::UnitPlan& unit = *plan.add_units();
      unit.set_name(model_.units[i].name);
      unit.set_elements(layout.all_elements());
      unit.set_trained_elements(layout.elements);
      unit.set_padded_elements(layout.padded_elements);
    }
  }

  void AddLayers(const layout::ModeChoice& choice, v1::ShardingPlan& plan) const {
    for (size_t i = 0; i < model_.units.size(); ++i) {
      for (size_t j = 0; j < model_.units[i].layers.size(); ++j) {
        const layout::LayerDescription& description = model_.units[i].layers[j];
        const layout::UnitMode mode =
            choice.layer_modes.empty() ? choice.mode : choice.layer_modes[i][j];
        v1::LayerPlan& layer = *plan.add_layers();
        layer.set_unit(static_cast<int32_t>(i));
        layer.set_name(description.name);
        layer.set_kind(std::string(layout::LayerKindName(description.kind)));
        *layer.mutable_mode() = spec::ModeMessage(mode);
        if (i < choice.layer_seconds.size() && j < choice.layer_seconds[i].size()) {
          layer.set_predicted_seconds(choice.layer_seconds[i][j]);
        }
        layer.set_note(NoteOf(model_.units[i], description, mode));
      }
    }
  }

  absl::Status SetCollectives(const layout::ScheduleOptions& options,
                              v1::ShardingPlan& plan) const {
    ASSIGN_OR_RETURN(const layout::ExecutionSchedule one, layout::BuildSchedule(options, 1));
    ASSIGN_OR_RETURN(const layout::ExecutionSchedule two, layout::BuildSchedule(options, 2));
    const layout::CollectiveCounts first = layout::CountCollectives(one, layout_, grid_.replicas);
    const layout::CollectiveCounts both = layout::CountCollectives(two, layout_, grid_.replicas);
    const int64_t first_gathers = first.block_gathers + first.root_gathers;
    plan.set_gathers_per_micro_batch(both.block_gathers + both.root_gathers - first_gathers);
    plan.set_reduces_per_micro_batch(both.reduces - first.reduces);
    plan.set_bytes_per_micro_batch(both.bytes_received - first.bytes_received);
    plan.set_gathers_per_step(first_gathers - plan.gathers_per_micro_batch());
    plan.set_reduces_per_step(first.reduces - plan.reduces_per_micro_batch());
    plan.set_bytes_per_step(first.bytes_received - plan.bytes_per_micro_batch());
    return absl::OkStatus();
  }

  const v1::JobSpec& spec_;  // outlives
  layout::RankGrid grid_;
  layout::ModelDescription model_;
  layout::FlatLayout layout_;
  layout::DeviceProfile profile_;
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

// What the smallest micro-batch needs: with `auto`, in the leanest mode.
int64_t LeastBytes(const v1::JobSpec& spec, const Placement& placement) {
  layout::ModeChoice least;
  least.mode = *layout::FindMode(
      layout::IsAutomatic(spec.gradient().mode()) ? "flash" : spec.gradient().mode());
  least.micro_batch_size = std::max(1, spec.train().micro_batch_size());
  return placement.Memory(least).total_bytes();
}

// Mode, size and times; nothing, with the reason, when nothing fits.
std::optional<layout::ModeChoice> Choose(const v1::JobSpec& spec, const HostFacts& host,
                                         const Placement& placement, Rules& rules,
                                         bool& memory_decided) {
  const int64_t limit = MemoryLimit(spec, host);
  const bool fixed = spec.train().micro_batch_size() > 0;
  const int32_t wanted = fixed ? spec.train().micro_batch_size() : placement.PreferredMicroBatch();
  const bool automatic = layout::IsAutomatic(spec.gradient().mode());
  absl::StatusOr<layout::ModeChoice> choice = automatic
                                                  ? placement.AutomaticChoice(wanted, fixed, limit)
                                                  : placement.NamedChoice(wanted, fixed, limit);
  if (!choice.ok() && !absl::IsResourceExhausted(choice.status())) {
    rules.Break("gradient.mode", absl::StrCat("cannot be predicted: ", choice.status().message()),
                spec.gradient().mode());
    return std::nullopt;
  }
  const bool fits = choice.ok() && choice->micro_batch_size > 0 &&
                    placement.Memory(*choice).total_bytes() <= limit;
  rules.Require(
      fits, fixed ? "train.micro_batch_size" : "gradient.memory_limit_bytes",
      absl::StrCat(fixed ? "needs" : "is too small: even micro-batches of one example need", " ",
                   LeastBytes(spec, placement), " bytes per rank, and the limit is ", limit),
      fixed ? absl::StrCat(wanted) : absl::StrCat(limit));
  if (!fits) return std::nullopt;
  memory_decided = !automatic && choice->micro_batch_size < wanted;
  return *std::move(choice);
}

}  // namespace

std::optional<PlacedJob> PlaceJob(const v1::JobSpec& spec, const HostFacts& host, Rules& rules) {
  const absl::StatusOr<Placement> placement = Placement::Create(spec, host);
  if (!placement.ok()) {
    rules.Break("model", absl::StrCat("makes no model: ", placement.status().message()), "");
    return std::nullopt;
  }
  PlacedJob job;
  job.parameters = placement->layout().total_elements();
  job.trained_parameters = placement->layout().trainable_elements();
  const std::optional<layout::ModeChoice> choice =
      Choose(spec, host, *placement, rules, job.memory_decided);
  if (!choice.has_value()) return std::nullopt;
  job.micro_batch_size = static_cast<int32_t>(choice->micro_batch_size);
  job.memory = MemoryMessage(placement->Memory(*choice));
  job.profile = placement->profile();
  job.seconds_per_step = placement->SecondsPerStep(*choice);
  absl::StatusOr<v1::ShardingPlan> sharding = placement->Sharding(*choice);
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
  layout::ScheduleChoice choice;
  ASSIGN_OR_RETURN(choice.mode, spec::ModeOf(plan.sharding().mode()));
  choice.strategy = StrategyOf(plan.sharding().strategy());
  choice.gathered_slots = plan.sharding().gathered_slots();
  choice.gradient_slots = plan.sharding().gradient_slots();
  if (layout::IsAutomatic(plan.spec().gradient().mode())) {
    choice.layer_modes.resize(model.units.size());
    for (const v1::LayerPlan& layer : plan.sharding().layers()) {
      if (layer.unit() < 0 || layer.unit() >= static_cast<int>(model.units.size())) {
        return absl::InvalidArgumentError(absl::StrCat("layer ", layer.name(), " has no unit"));
      }
      ASSIGN_OR_RETURN(const layout::UnitMode mode, spec::ModeOf(layer.mode()));
      choice.layer_modes[layer.unit()].push_back(mode);
    }
  }
  return layout::MakeScheduleOptions(model, choice);
}

}  // namespace sotto::planning
