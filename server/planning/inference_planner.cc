#include "server/planning/inference_planner.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/layout/flat_layout.h"
#include "common/layout/gradient_mode.h"
#include "common/layout/memory.h"
#include "common/layout/strategy.h"
#include "common/spec/model_layout.h"
#include "common/spec/sharding_choice.h"
#include "server/planning/defaults.h"
#include "server/planning/inference_rules.h"
#include "server/planning/model_facts.h"
#include "server/planning/rules.h"

namespace sotto::planning {
namespace {

constexpr int64_t kFloat = sizeof(float);
// Texts that a rank reads side by side (worker/infer/text_groups.h).
constexpr int64_t kGroupTexts = 4;
// Logits of more texts are formed piece by piece.
constexpr int64_t kLogitsBytes = int64_t{64} << 20;

struct Reading {
  int64_t blocks = 0;
  int64_t width = 0;
  int64_t hidden_width = 0;
  int64_t key_value_width = 0;
};

Reading ReadingOf(const v1::ModelSpec& model) {
  if (model.has_llama()) {
    const v1::LlamaSpec& llama = model.llama();
    return {.blocks = llama.layers(),
            .width = std::max(llama.width(), llama.heads() * llama.head_width()),
            .hidden_width = llama.hidden_width(),
            .key_value_width = int64_t{llama.key_value_heads()} * llama.head_width()};
  }
  const v1::Gpt2Spec& gpt2 = model.gpt2();
  return {.blocks = gpt2.layers(),
          .width = gpt2.width(),
          .hidden_width = gpt2.hidden_width(),
          .key_value_width = gpt2.width()};
}

// Whole units that a rank holds beside its shards.
int64_t SlotElements(const v1::WorkersSpec& workers, const layout::FlatLayout& layout) {
  if (workers.strategy() == v1::NO_SHARD) return 0;
  int64_t blocks = 0;
  for (int unit = 1; unit < layout.num_units(); ++unit) {
    blocks += layout.unit(unit).whole_elements();
  }
  if (workers.strategy() != v1::SHARD_GRAD_OP) {
    blocks = std::min(blocks, workers.gathered_slots() * layout.max_block_whole_elements());
  }
  return layout.unit(0).whole_elements() + blocks;
}

// One rank's. Activations are those of the texts that it reads at once: the residual stream of
// all, what one block makes of a group, keys and values of all blocks, and what is captured.
v1::MemoryPlan MemoryOf(const v1::JobSpec& spec, const layout::ModelDescription& model,
                        const layout::FlatLayout& layout, int64_t longest, int threads) {
  const layout::MemoryEstimate shards =
      layout::EstimateMemory(model, layout,
                             {.gathered_slots = spec.workers().gathered_slots(),
                              .gradient_slots = 1,
                              .mode = *layout::FindMode("no_dp"),
                              .optimizer_states = 0,
                              .strategy = spec::StrategyOf(spec.workers().strategy()),
                              .world_size = spec.workers().count(),
                              .threads_per_rank = threads});
  v1::MemoryPlan plan;
  plan.set_parameters_bytes(shards.parameters_bytes);
  plan.set_communicator_bytes(shards.communicator_bytes);
  plan.set_baseline_bytes(shards.baseline_bytes);
  plan.set_fragmentation_bytes(shards.fragmentation_bytes);
  plan.set_slots_bytes(kFloat * SlotElements(spec.workers(), layout));
  const v1::InferenceSpec& inference = spec.inference();
  if (!inference.has_edit()) {
    const Reading reading = ReadingOf(spec.model());
    const int64_t texts =
        kGroupTexts *
        std::max<int64_t>(1, inference.batch_size() / (kGroupTexts * spec.workers().count()));
    int64_t values = texts * longest * reading.width;
    values += kGroupTexts * longest *
              (6 * reading.width + 2 * reading.key_value_width + 3 * reading.hidden_width);
    if (inference.has_generate()) {
      values += 2 * reading.blocks * texts * longest * reading.key_value_width;
    }
    values += inference.capture().layers_size() * texts * longest * reading.width;
    plan.set_activations_bytes(kFloat * values);
    const int64_t row = kFloat * VocabularyOf(spec.model());
    plan.set_workspace_bytes(std::min(kLogitsBytes, texts * longest * row) + row);
  }
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

void CheckHost(const v1::JobPlan& plan, const HostFacts& host, Rules& rules) {
  const int64_t ranks = plan.sharding().world_size();
  const int64_t limit =
      host.memory_bytes > 0 ? host.memory_bytes / ranks : std::numeric_limits<int64_t>::max();
  const bool reads = !plan.spec().inference().has_edit();
  rules.Require(plan.memory().total_bytes() <= limit,
                reads ? "inference.batch_size" : "workers.count",
                absl::StrCat("needs ", plan.memory().total_bytes(),
                             " bytes per rank, and the host has ", limit),
                reads ? plan.spec().inference().batch_size() : static_cast<int32_t>(ranks));
  rules.Require(
      host.communicator_bytes == 0 ||
          plan.sharding().communicator_bytes() <= host.communicator_bytes,
      "workers.count",
      absl::StrCat("needs ", plan.sharding().communicator_bytes(),
                   " bytes of shared memory, and the host gives ", host.communicator_bytes),
      ranks);
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
  const v1::WorkersSpec& workers = filled.workers();
  const auto grid = layout::MakeRankGrid(spec::StrategyOf(workers.strategy()), workers.count(),
                                         workers.shard_group_size());
  if (!grid.has_value()) return broken("its ranks make no groups");
  const absl::StatusOr<layout::FlatLayout> layout =
      layout::FlatLayout::Create(*model, grid->shards);
  if (!layout.ok()) return broken(layout.status().message());
  const int threads = std::max(1, host.cores / workers.count());
  *plan.mutable_sharding() = ShardingOf(workers, *grid, *model, *layout, threads);
  *plan.mutable_memory() =
      MemoryOf(filled, *model, *layout, plan.inference().longest_prompt(), threads);
  plan.mutable_train()->set_parameters(layout->total_elements());
  CheckHost(plan, host, rules);
  RETURN_IF_ERROR(rules.Check());
  if (!facts.note.empty()) plan.add_notes(facts.note);
  return plan;
}

}  // namespace sotto::planning
