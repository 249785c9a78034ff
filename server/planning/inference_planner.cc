#include "server/planning/inference_planner.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/layout/flat_layout.h"
#include "common/layout/inference_memory.h"
#include "common/layout/known_modes.h"
#include "common/layout/memory.h"
#include "common/layout/memory_meter.h"
#include "common/layout/slot_layout.h"
#include "common/layout/strategy.h"
#include "common/spec/model_layout.h"
#include "common/spec/sharding_choice.h"
#include "server/planning/defaults.h"
#include "server/planning/inference_rules.h"
#include "server/planning/memory_remedies.h"
#include "server/planning/model_facts.h"
#include "server/planning/rules.h"
#include "server/planning/spec_rules.h"

namespace sotto::planning {
namespace {

constexpr int64_t kFloat = sizeof(float);
// Texts that a rank reads side by side (worker/infer/text_groups.h).
constexpr int64_t kGroupTexts = 4;
// Logits that are formed at once (worker/infer/forward_pass.cc).
constexpr int64_t kLogitsAtOnce = int64_t{1} << 24;

// Groups that a rank reads in one pass: their texts (worker/infer/text_groups.h).
std::vector<int64_t> GroupsOfPass(const v1::JobSpec& spec, const PromptFacts& prompts) {
  const int64_t ranks = spec.workers().count();
  const int64_t groups = (prompts.prompts + kGroupTexts - 1) / kGroupTexts;
  const int64_t at_once =
      std::max<int64_t>(1, spec.inference().batch_size() / (kGroupTexts * ranks));
  return std::vector<int64_t>(std::min(at_once, (groups + ranks - 1) / ranks),
                              std::min(kGroupTexts, prompts.prompts));
}

layout::InferenceMemoryOptions ReadingOf(const v1::JobSpec& spec, const PromptFacts& prompts,
                                         int threads) {
  const v1::InferenceSpec& inference = spec.inference();
  layout::InferenceMemoryOptions options = {
      .groups = GroupsOfPass(spec, prompts),
      .tokens = std::max<int64_t>(1, prompts.longest - (inference.has_score() ? 1 : 0)),
      .rows_at_once = std::max<int64_t>(1, kLogitsAtOnce / VocabularyOf(spec.model())),
      .threads = threads};
  const int64_t texts = options.groups.front();
  if (inference.has_generate()) {
    options.cached_tokens = prompts.longest + inference.generate().max_new_tokens();
    options.wanted_rows = texts;
  }
  if (inference.has_score()) {
    options.wanted_rows = texts * std::min<int64_t>(prompts.longest_continuation, options.tokens);
  }
  options.captured_layers.assign(inference.capture().layers().begin(),
                                 inference.capture().layers().end());
  return options;
}

// One rank's; worker/memory counts as many bytes of tensors (tests/inference/memory_test).
v1::MemoryPlan MemoryOf(const v1::JobSpec& spec, const layout::ModelDescription& model,
                        const layout::FlatLayout& layout, const InferenceFacts& facts,
                        int threads) {
  const layout::MemoryEstimate shards =
      layout::EstimateMemory(model, layout,
                             {.gathered_slots = spec.workers().gathered_slots(),
                              .gradient_slots = 1,
                              .mode = layout::kNoDpMode.mode,
                              .optimizer_states = 0,
                              .strategy = spec::StrategyOf(spec.workers().strategy()),
                              .world_size = spec.workers().count(),
                              .threads_per_rank = threads});
  v1::MemoryPlan plan;
  plan.set_parameters_bytes(shards.parameters_bytes);
  plan.set_communicator_bytes(shards.communicator_bytes);
  plan.set_baseline_bytes(shards.baseline_bytes);
  plan.set_slots_bytes(
      kFloat *
      layout::GatheredSlots(layout, {.strategy = spec::StrategyOf(spec.workers().strategy()),
                                     .gathered_slots = spec.workers().gathered_slots()})
          .total_elements());
  if (!spec.inference().has_edit() && facts.prompts.has_value()) {
    const layout::MemoryMeter::ByUse peak =
        layout::PeakOfInference(model, ReadingOf(spec, *facts.prompts, threads));
    const auto bytes_of = [&peak](layout::TensorUse use) {
      return static_cast<int64_t>(peak[static_cast<size_t>(use)]) * kFloat;
    };
    plan.set_activations_bytes(bytes_of(layout::TensorUse::kActivations));
    plan.set_workspace_bytes(bytes_of(layout::TensorUse::kWorkspace));
  }
  plan.set_fragmentation_bytes(
      layout::FragmentationBytes(threads, plan.activations_bytes() + plan.workspace_bytes()));
  plan.set_total_bytes(plan.parameters_bytes() + plan.slots_bytes() + plan.activations_bytes() +
                       plan.workspace_bytes() + plan.communicator_bytes() + plan.baseline_bytes() +
                       plan.fragmentation_bytes());
  return plan;
}

v1::ShardingPlan ShardingOf(const v1::WorkersSpec& workers, const layout::RankGrid& grid,
                            const layout::ModelDescription& model, const layout::FlatLayout& layout,
                            int threads) {
  v1::ShardingPlan plan;
  plan.set_world_size(grid.world_size());
  plan.set_threads_per_rank(threads);
  plan.set_strategy(workers.strategy());
  plan.set_shard_group_size(grid.shards);
  plan.set_replicas(grid.replicas);
  plan.set_gathered_slots(workers.gathered_slots());
  plan.set_communicator_bytes(layout::CommunicatorBytes(layout, grid.world_size()));
  for (int i = 0; i < layout.num_units(); ++i) {
    v1::UnitPlan& unit = *plan.add_units();
    unit.set_name(model.units[i].name);
    unit.set_elements(layout.unit(i).all_elements());
    unit.set_padded_elements(layout.unit(i).padded_elements);
    unit.set_trained_elements(layout.unit(i).elements);
  }
  return plan;
}

// The model on the ranks of a spec with defaults.
struct Placed {
  layout::RankGrid grid;
  layout::FlatLayout layout;
  int threads = 1;  // of a rank
};

// INVALID_ARGUMENT: no layout can be made.
absl::StatusOr<Placed> Place(const v1::WorkersSpec& workers, const layout::ModelDescription& model,
                             const HostFacts& host) {
  const auto grid = layout::MakeRankGrid(spec::StrategyOf(workers.strategy()), workers.count(),
                                         workers.shard_group_size());
  if (!grid.has_value()) return absl::InvalidArgumentError("its ranks make no groups");
  ASSIGN_OR_RETURN(layout::FlatLayout layout, layout::FlatLayout::Create(model, grid->shards));
  return Placed{.grid = *grid,
                .layout = std::move(layout),
                .threads = std::max(1, host.cores / workers.count())};
}

v1::InferencePlan InferencePlanOf(const v1::JobSpec& spec, const InferenceFacts& facts) {
  v1::InferencePlan plan;
  plan.set_checkpoint_path(facts.checkpoint_path);
  if (!facts.prompts.has_value()) return plan;
  plan.set_prompts(facts.prompts->prompts);
  plan.set_prompt_sha256(facts.prompts->sha256);
  plan.set_longest_prompt(facts.prompts->longest + spec.inference().generate().max_new_tokens());
  plan.set_batch_size(spec.inference().batch_size());
  return plan;
}

void CheckHost(const v1::JobPlan& plan, const layout::ModelDescription& model,
               const InferenceFacts& facts, const HostFacts& host, Rules& rules) {
  const v1::JobSpec& spec = plan.spec();
  const int64_t limit = MemoryLimit(spec, host);
  if (plan.memory().total_bytes() > limit) {
    const auto bytes = [&](const v1::JobSpec& changed) -> std::optional<int64_t> {
      Rules broken;
      CheckWorkers(changed.workers(), host, broken);
      const absl::StatusOr<Placed> placed = Place(changed.workers(), model, host);
      if (!broken.Check().ok() || !placed.ok()) return std::nullopt;
      return MemoryOf(changed, model, placed->layout, facts, placed->threads).total_bytes();
    };
    std::string field;
    const std::string remedies = InferenceRemedies(spec, host, bytes, field);
    rules.Break(field,
                absl::StrCat("needs ", plan.memory().total_bytes(), " bytes per rank, ",
                             plan.memory().parameters_bytes(),
                             " of them for parameters, and the host has ", limit, "; ", remedies),
                absl::StrCat(field == "workers.count" ? spec.workers().count()
                                                      : spec.inference().batch_size()));
  }
  rules.Require(
      host.communicator_bytes == 0 ||
          plan.sharding().communicator_bytes() <= host.communicator_bytes,
      "workers.count",
      absl::StrCat("needs ", plan.sharding().communicator_bytes(),
                   " bytes of shared memory, and the host gives ", host.communicator_bytes),
      spec.workers().count());
}

}  // namespace

absl::StatusOr<v1::JobPlan> PlanInference(const v1::JobSpec& spec, const InferenceFacts& facts,
                                          const HostFacts& host) {
  Rules rules;
  CheckInference(spec, facts, host, rules);
  RETURN_IF_ERROR(rules.Check());
  v1::JobPlan plan;
  plan.set_protocol_version(kProtocolVersion);
  *plan.mutable_spec() = WithInferenceDefaults(spec, MaxNewTokens(spec, facts));
  const v1::JobSpec& filled = plan.spec();
  *plan.mutable_inference() = InferencePlanOf(filled, facts);
  plan.mutable_privacy()->set_not_private(true);

  const auto broken = [&](absl::string_view what) {
    rules.BreakModel(what);
    return rules.Check();
  };
  const absl::StatusOr<layout::ModelDescription> model = spec::DescribeModel(filled.model());
  if (!model.ok()) return broken(model.status().message());
  const absl::StatusOr<Placed> placed = Place(filled.workers(), *model, host);
  if (!placed.ok()) return broken(placed.status().message());
  *plan.mutable_sharding() =
      ShardingOf(filled.workers(), placed->grid, *model, placed->layout, placed->threads);
  *plan.mutable_memory() = MemoryOf(filled, *model, placed->layout, facts, placed->threads);
  plan.mutable_train()->set_parameters(placed->layout.total_elements());
  CheckHost(plan, *model, facts, host, rules);
  RETURN_IF_ERROR(rules.Check());
  if (!facts.note.empty()) plan.add_notes(facts.note);
  return plan;
}

}  // namespace sotto::planning
