#include "server/planning/sharding_rules.h"

#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/layout/gradient_mode.h"
#include "common/layout/layer_rules.h"
#include "server/planning/value_checks.h"

namespace sotto::planning {
namespace {

constexpr int kMostBlocks = 1024;  // that a model may have

void CheckReshard(const v1::WorkersSpec& workers, Rules& rules) {
  if (!workers.has_reshard_after_forward()) return;
  const bool own_slots =
      workers.strategy() == v1::SHARD_GRAD_OP || workers.strategy() == v1::NO_SHARD;
  rules.Require(!own_slots, "workers.reshard_after_forward",
                "must be left out: only FULL_SHARD and HYBRID_SHARD give units back",
                v1::Strategy_Name(workers.strategy()));
  const v1::ReshardSpec& reshard = workers.reshard_after_forward();
  rules.Require(!reshard.none() || reshard.keep_gathered().empty(),
                "workers.reshard_after_forward.keep_gathered",
                "must be left out: none keeps every unit", reshard.keep_gathered_size());
}

void CheckPrefetch(const v1::WorkersSpec& workers, Rules& rules) {
  const int depth = workers.prefetch_depth();
  if (depth == 0) return;
  const int slots = workers.gathered_slots() == 0 ? 2 : workers.gathered_slots();
  if (workers.strategy() == v1::NO_SHARD) {
    rules.Break("workers.prefetch_depth", "must be left out: NO_SHARD gathers nothing",
                absl::StrCat(depth));
    return;
  }
  rules.Require(
      depth > 0 && depth < slots, "workers.prefetch_depth",
      absl::StrCat("must be at least 1 and below the ", slots, " gathered_slots, or left out"),
      depth);
}

void CheckCaches(const v1::WorkersSpec& workers, Rules& rules) {
  rules.Require(IsWithin(workers.clear_caches_every_steps(), 0, kMaxSteps),
                "workers.clear_caches_every_steps", "must be 1 to 2^32, or left out",
                workers.clear_caches_every_steps());
}

void CheckWrapping(const v1::JobSpec& spec, Rules& rules) {
  const v1::WrappingSpec& wrapping = spec.workers().wrapping();
  if (wrapping.has_by_size()) {
    const int64_t minimum = wrapping.by_size().minimum_parameters();
    rules.Require(minimum >= 1, "workers.wrapping.by_size.minimum_parameters", "must be at least 1",
                  minimum);
  }
  for (const std::string& kind : wrapping.by_layer().kinds()) {
    rules.Require(layout::FindLayerKind(kind).has_value(), "workers.wrapping.by_layer.kinds",
                  "must be kinds of layers, as linear or layer_norm", kind);
  }
  const bool by_block = !wrapping.has_by_size() && !wrapping.has_by_layer();
  rules.Require(by_block || !spec.privacy().clipping().has_per_unit(), "privacy.clipping.per_unit",
                "needs workers.wrapping by_block: its thresholds are of blocks", "");
}

// A block that keeps its input alone gives the inputs of its layers back.
void CheckCheckpointing(const v1::JobSpec& spec, Rules& rules) {
  if (!spec.train().has_activation_checkpointing()) return;
  constexpr char kEvery[] = "train.activation_checkpointing.every_blocks";
  const v1::ActivationCheckpointingSpec& checkpointing = spec.train().activation_checkpointing();
  const int every = checkpointing.every_blocks();
  rules.Require(IsWithin(every, 0, kMostBlocks), kEvery, "must be 1 to 1024, or left out", every);
  rules.Require(every == 0 || checkpointing.units().empty(), kEvery,
                "must be left out: units says which", every);
  const std::optional<layout::UnitMode> mode = layout::FindMode(spec.gradient().mode());
  rules.Require(!mode.has_value() || mode->kept != layout::Kept::kOutputGrads,
                "train.activation_checkpointing",
                "cannot be had with book-keeping, which holds the input of every layer",
                spec.gradient().mode());
  rules.Require(!spec.gradient().deferred_norms() || (mode && mode->norm == layout::Norm::kNone),
                "train.activation_checkpointing",
                "cannot be had with gradient.deferred_norms, which hold the input of every layer",
                "true");
}

}  // namespace

void CheckSharding(const v1::JobSpec& spec, Rules& rules) {
  CheckReshard(spec.workers(), rules);
  CheckPrefetch(spec.workers(), rules);
  CheckCaches(spec.workers(), rules);
  CheckWrapping(spec, rules);
  CheckCheckpointing(spec, rules);
}

}  // namespace sotto::planning
