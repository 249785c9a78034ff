#include "server/planning/same_result.h"

#include <google/protobuf/util/message_differencer.h>

#include <algorithm>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/layout/gradient_mode.h"

namespace sotto::planning {
namespace {

// What stays of a plan when everything is left out that changes no result.
v1::JobPlan ResultOf(const v1::JobPlan& plan) {
  v1::JobPlan result = plan;
  result.mutable_spec()->clear_workers();
  result.mutable_train()->clear_estimated_seconds();
  result.mutable_train()->clear_checkpointed_blocks();  // same bits, run forward again
  result.clear_protocol_version();                      // of the workers
  result.clear_memory();
  result.clear_notes();
  result.clear_device_profile();
  result.clear_sharding();
  v1::ShardingPlan& sharding = *result.mutable_sharding();
  sharding.set_mode_name(plan.sharding().mode_name());
  if (!layout::IsAutomatic(plan.spec().gradient().mode())) {
    *sharding.mutable_mode() = plan.sharding().mode();
  }
  // Thresholds are by unit.
  if (plan.privacy().clipping().rule() == v1::ClippingPlan::PER_UNIT) {
    for (const v1::UnitPlan& unit : plan.sharding().units()) {
      sharding.add_units()->set_name(unit.name());
    }
  }
  return result;
}

}  // namespace

v1::WorkersSpec ChangedWorkers(const v1::WorkersSpec& workers, const v1::WorkersSpec& changes) {
  v1::WorkersSpec changed = workers;
  const v1::Strategy strategy =
      changes.strategy() == v1::STRATEGY_UNSPECIFIED ? workers.strategy() : changes.strategy();
  if (strategy != v1::HYBRID_SHARD) changed.clear_shard_group_size();
  if (strategy == v1::NO_SHARD || changes.gathered_slots() != 0) changed.clear_prefetch_depth();
  const bool gives_back = strategy == v1::FULL_SHARD || strategy == v1::HYBRID_SHARD;
  // Lists of what is merged would be appended to.
  if (!gives_back || changes.has_reshard_after_forward()) {
    changed.clear_reshard_after_forward();
  }
  if (changes.has_wrapping()) changed.clear_wrapping();
  if (changes.has_offload()) changed.clear_offload();
  changed.MergeFrom(changes);
  return changed;
}

absl::Status CheckSameResult(const v1::JobPlan& plan, const v1::JobPlan& changed) {
  google::protobuf::util::MessageDifferencer differencer;
  std::string differences;
  differencer.ReportDifferencesToString(&differences);
  if (differencer.Compare(ResultOf(plan), ResultOf(changed))) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "these workers would change what the job computes: ",
      absl::StrReplaceAll(absl::StripTrailingAsciiWhitespace(differences), {{"\n", "; "}})));
}

bool HasOtherModes(const v1::JobPlan& plan, const v1::JobPlan& changed) {
  const auto& before = plan.sharding().layers();
  const auto& after = changed.sharding().layers();
  return !std::equal(before.begin(), before.end(), after.begin(), after.end(),
                     [](const v1::LayerPlan& one, const v1::LayerPlan& other) {
                       return google::protobuf::util::MessageDifferencer::Equals(one.mode(),
                                                                                 other.mode());
                     });
}

}  // namespace sotto::planning
