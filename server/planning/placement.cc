#include "server/planning/placement.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/crypto/sha256.h"
#include "common/layout/gradient_mode.h"
#include "common/layout/layer_rules.h"
#include "common/layout/name_pattern.h"
#include "common/spec/model_layout.h"
#include "common/spec/sharding_choice.h"
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

int ThreadsPerRank(const v1::JobSpec& spec, const HostFacts& host) {
  return std::max(1, host.cores / spec.workers().count());
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

}  // namespace

absl::StatusOr<Placement> Placement::Create(const v1::JobSpec& spec, const HostFacts& host) {
  ASSIGN_OR_RETURN(layout::ModelDescription model, spec::DescribeModel(spec.model()));
  RETURN_IF_ERROR(layout::CheckExamplesApart(model));
  const auto grid = layout::MakeRankGrid(spec::StrategyOf(spec.workers().strategy()),
                                         spec.workers().count(), spec.workers().shard_group_size());
  if (!grid.has_value()) return absl::InvalidArgumentError("its ranks make no groups");
  ASSIGN_OR_RETURN(layout::WrappedModel wrapped, spec::WrapModel(model, spec.workers().wrapping()));
  ASSIGN_OR_RETURN(layout::FlatLayout blocks, layout::FlatLayout::Create(model, grid->shards));
  ASSIGN_OR_RETURN(layout::FlatLayout layout,
                   layout::FlatLayout::Create(wrapped.units, grid->shards));
  if (layout.trainable_elements() == 0) {
    return absl::InvalidArgumentError("model.adaptation leaves no parameter to train");
  }
  return Placement(spec, host, *grid, std::move(model), std::move(wrapped), std::move(blocks),
                   std::move(layout));
}

Placement::Placement(const v1::JobSpec& spec, const HostFacts& host, layout::RankGrid grid,
                     layout::ModelDescription model, layout::WrappedModel wrapped,
                     layout::FlatLayout block_layout, layout::FlatLayout layout)
    : spec_(spec),
      grid_(grid),
      model_(std::move(model)),
      wrapped_(std::move(wrapped)),
      block_layout_(std::move(block_layout)),
      layout_(std::move(layout)),
      profile_(ProfileFor(host.device_profiles, ThreadsPerRank(spec, host)).profile) {
  if (host.ranks_measure_device && !ProfileFor(host.device_profiles, profile_.threads).measured) {
    profiling_bytes_ = layout::ProfilingBytes(profile_.threads);
  }
}

layout::MemoryEstimate Placement::Memory(const layout::ModeChoice& choice) const {
  layout::MemoryEstimate estimate =
      layout::EstimateMemory(model_, block_layout_,
                             {.gathered_slots = spec_.workers().gathered_slots(),
                              .gradient_slots = kGradientSlots,
                              .mode = choice.mode,
                              .micro_batch_size = choice.micro_batch_size,
                              .longest_length = longest(),
                              .optimizer_states = OptimizerStates(spec_.train().optimizer()),
                              .strategy = strategy(),
                              .layer_modes = choice.layer_modes,
                              .world_size = grid_.world_size(),
                              .threads_per_rank = profile_.threads,
                              .units = &layout_,
                              .kept_gathered = KeptGathered(),
                              .block_units = wrapped_.blocks.units,
                              .checkpointed_blocks = CheckpointedBlocks()});
  // Measured before the first tensor of the training: the larger of the two counts.
  estimate.fragmentation_bytes += std::max<int64_t>(profiling_bytes_ - estimate.tensor_bytes(), 0);
  return estimate;
}

int32_t Placement::PreferredMicroBatch() const {
  const auto tokens = static_cast<int32_t>(kMicroBatchTokens / longest());
  const double share = spec_.train().expected_batch_size() / spec_.workers().count();
  const auto needed = static_cast<int32_t>(std::clamp(std::ceil(share), 1.0, 1024.0));
  return std::min(std::clamp(tokens, kSmallestPreferred, kLargestPreferred), needed);
}

absl::StatusOr<layout::ModeChoice> Placement::NamedChoice(int32_t wanted, bool fixed,
                                                          int64_t limit) const {
  layout::ModeChoice choice;
  choice.mode = Deferred(*layout::FindMode(spec_.gradient().mode()));
  int64_t& size = choice.micro_batch_size;
  size = wanted;
  while (!fixed && size > 0 && Memory(choice).total_bytes() > limit) {
    size = size > 8 ? size / 2 : size - 1;
  }
  return WithTimes(std::move(choice));
}

absl::StatusOr<layout::ModeChoice> Placement::AutomaticChoice(int32_t wanted, bool fixed,
                                                              int64_t limit) const {
  constexpr int64_t kNone = std::numeric_limits<int64_t>::max();
  const int64_t most = std::min(limit, kNone - 1);
  ASSIGN_OR_RETURN(layout::ModeChoice choice,
                   layout::ChooseMode(model_,
                                      {.length = longest(),
                                       .largest_micro_batch_size = wanted,
                                       .fixed_micro_batch_size = fixed,
                                       .memory_limit_bytes = most},
                                      profile_, [this](const layout::ModeChoice& candidate) {
                                        return HoldsWhatIsDropped(candidate)
                                                   ? kNone
                                                   : Memory(candidate).total_bytes();
                                      }));
  choice.mode = Deferred(choice.mode);
  for (std::vector<layout::UnitMode>& unit : choice.layer_modes) {
    for (layout::UnitMode& mode : unit) mode = Deferred(mode);
  }
  return choice;
}

absl::StatusOr<layout::ModeChoice> Placement::KeptChoice(const v1::JobPlan& plan) const {
  ASSIGN_OR_RETURN(const layout::WrappedModel wrapped,
                   spec::WrapModel(model_, plan.spec().workers().wrapping()));
  ASSIGN_OR_RETURN(const layout::ScheduleChoice kept,
                   spec::ScheduleChoiceOf(plan, model_, wrapped));
  layout::ModeChoice choice;
  choice.mode = kept.mode;
  choice.layer_modes = kept.layer_modes;
  choice.micro_batch_size = plan.train().micro_batch_size();
  return WithTimes(std::move(choice));
}

// Book-keeping in a block that keeps its input alone.
bool Placement::HoldsWhatIsDropped(const layout::ModeChoice& choice) const {
  const auto keeps_books = [](const layout::UnitMode& mode) {
    return mode.kept == layout::Kept::kOutputGrads;
  };
  for (int block : CheckpointedBlocks()) {
    if (choice.layer_modes.empty()) return keeps_books(choice.mode);
    const std::vector<layout::UnitMode>& modes = choice.layer_modes[block + 1];
    if (std::any_of(modes.begin(), modes.end(), keeps_books)) return true;
  }
  return false;
}

absl::StatusOr<v1::ShardingPlan> Placement::Sharding(const layout::ModeChoice& choice) const {
  const layout::ScheduleOptions options = layout::MakeScheduleOptions(model_, Schedule(choice));
  ASSIGN_OR_RETURN(const std::string text, layout::CanonicalScheduleText(options));
  v1::ShardingPlan plan;
  plan.set_world_size(grid_.world_size());
  plan.set_strategy(spec_.workers().strategy());
  plan.set_shard_group_size(grid_.shards);
  plan.set_replicas(grid_.replicas);
  plan.set_threads_per_rank(profile_.threads);
  plan.set_gathered_slots(options.gathered_slots);
  plan.set_gradient_slots(options.gradient_slots);
  plan.set_prefetch_depth(options.prefetch_depth);
  plan.set_check_operations(spec_.workers().check_operations());
  const std::vector<bool> kept = KeptGathered();
  for (size_t unit = 0; unit < kept.size(); ++unit) {
    if (kept[unit]) plan.add_kept_gathered(static_cast<int32_t>(unit));
  }
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

layout::ScheduleChoice Placement::Schedule(const layout::ModeChoice& choice) const {
  layout::ScheduleChoice schedule{.mode = choice.mode,
                                  .layer_modes = choice.layer_modes,
                                  .strategy = strategy(),
                                  .gathered_slots = spec_.workers().gathered_slots(),
                                  .gradient_slots = kGradientSlots,
                                  .kept_gathered = KeptGathered(),
                                  .prefetch_depth = spec_.workers().prefetch_depth(),
                                  .checkpointed_blocks = CheckpointedBlocks()};
  schedule.SetUnits(wrapped_);
  return schedule;
}

double Placement::SecondsPerStep(const layout::ModeChoice& choice) const {
  const double examples = spec_.train().expected_batch_size() / spec_.workers().count();
  const double micro_batches =
      std::max(1.0, std::ceil(examples / static_cast<double>(choice.micro_batch_size)));
  const auto owned = static_cast<double>(layout_.total_shard_elements());
  return micro_batches * (choice.matrix_seconds + choice.extra_seconds) + owned / profile_.normals +
         owned / profile_.updates;
}

layout::Strategy Placement::strategy() const {
  return spec::StrategyOf(spec_.workers().strategy());
}

layout::UnitMode Placement::Deferred(layout::UnitMode mode) const {
  return spec_.gradient().deferred_norms() ? layout::WithDeferredNorms(mode) : mode;
}

// Whether a pattern names a unit that has parameters of the block; block 0 is the root.
bool Placement::HoldsNamedUnit(size_t block, const Patterns& patterns) const {
  const std::vector<int>& units = wrapped_.blocks.units[block];
  return std::any_of(units.begin(), units.end(), [&](int unit) {
    const std::string& name = wrapped_.units.units[unit].name;
    return std::any_of(patterns.begin(), patterns.end(), [&](const std::string& pattern) {
      return layout::MatchesPattern(pattern, name);
    });
  });
}

// A pattern that names one unit of a block keeps the whole block.
std::vector<bool> Placement::KeptGathered() const {
  const v1::ReshardSpec& reshard = spec_.workers().reshard_after_forward();
  std::vector<bool> kept(wrapped_.units.units.size(), false);
  for (size_t block = 1; block < wrapped_.blocks.units.size(); ++block) {
    if (!reshard.none() && !HoldsNamedUnit(block, reshard.keep_gathered())) continue;
    for (int unit : wrapped_.blocks.units[block]) kept[unit] = true;
  }
  return kept;
}

std::vector<std::string> Placement::UnmatchedPatterns(const Patterns& patterns) const {
  std::vector<std::string> unmatched;
  for (const std::string& pattern : patterns) {
    const auto matches = [&](const layout::UnitDescription& unit) {
      return layout::MatchesPattern(pattern, unit.name);
    };
    const std::vector<layout::UnitDescription>& units = wrapped_.units.units;
    if (std::none_of(units.begin() + 1, units.end(), matches)) unmatched.push_back(pattern);
  }
  return unmatched;
}

std::vector<int> Placement::CheckpointedBlocks() const {
  std::vector<int> blocks;
  if (!spec_.train().has_activation_checkpointing()) return blocks;
  const v1::ActivationCheckpointingSpec& checkpointing = spec_.train().activation_checkpointing();
  for (int block = 0; block + 1 < static_cast<int>(model_.units.size()); ++block) {
    const bool is_checkpointed = checkpointing.units().empty()
                                     ? block % checkpointing.every_blocks() == 0
                                     : HoldsNamedUnit(block + 1, checkpointing.units());
    if (is_checkpointed) blocks.push_back(block);
  }
  return blocks;
}

absl::StatusOr<layout::ModeChoice> Placement::WithTimes(layout::ModeChoice choice) const {
  if (choice.micro_batch_size == 0) return choice;
  ASSIGN_OR_RETURN(layout::ModeChoice timed,
                   layout::PredictMode(model_, choice.mode, choice.layer_modes, longest(),
                                       choice.micro_batch_size, profile_));
  return timed;
}

void Placement::AddUnits(v1::ShardingPlan& plan) const {
  for (int i = 0; i < layout_.num_units(); ++i) {
    const layout::UnitLayout& layout = layout_.unit(i);
    v1::UnitPlan& unit = *plan.add_units();
    unit.set_name(wrapped_.units.units[i].name);
    unit.set_elements(layout.all_elements());
    unit.set_trained_elements(layout.elements);
    unit.set_padded_elements(layout.padded_elements);
  }
}

void Placement::AddLayers(const layout::ModeChoice& choice, v1::ShardingPlan& plan) const {
  for (size_t i = 0; i < model_.units.size(); ++i) {
    for (size_t j = 0; j < model_.units[i].layers.size(); ++j) {
      const layout::LayerDescription& description = model_.units[i].layers[j];
      const layout::UnitMode mode =
          choice.layer_modes.empty() ? choice.mode : choice.layer_modes[i][j];
      v1::LayerPlan& layer = *plan.add_layers();
      layer.set_unit(wrapped_.blocks.parameters[i][description.parameters.front()].unit);
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

absl::Status Placement::SetCollectives(const layout::ScheduleOptions& options,
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

}  // namespace sotto::planning
