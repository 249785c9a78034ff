#include "server/planning/memory_remedies.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/layout/gradient_mode.h"
#include "common/layout/known_modes.h"
#include "common/layout/memory.h"
#include "server/planning/placement.h"
#include "server/planning/rules.h"
#include "server/planning/same_result.h"
#include "server/planning/sharding_rules.h"
#include "server/planning/spec_rules.h"

namespace sotto::planning {
namespace {

// Halves, then one by one, down to 1.
std::vector<int32_t> Smaller(int32_t size) {
  std::vector<int32_t> sizes;
  while (size > 1) sizes.push_back(size = size > 16 ? size / 2 : size - 1);
  return sizes;
}

template <typename Apply>
Remedy NumberRemedy(absl::string_view field, const std::vector<int32_t>& numbers, Apply apply) {
  Remedy remedy{.field = std::string(field)};
  for (int32_t number : numbers) {
    remedy.values.push_back({absl::StrCat(field, " ", number),
                             [apply, number](v1::JobSpec& spec) { apply(spec, number); }});
  }
  return remedy;
}

void ChangeWorkers(v1::JobSpec& spec, const v1::WorkersSpec& changes) {
  const v1::WorkersSpec changed = ChangedWorkers(spec.workers(), changes);
  *spec.mutable_workers() = changed;
}

Remedy FewerSlots(const v1::WorkersSpec& workers) {
  return NumberRemedy("workers.gathered_slots", Smaller(workers.gathered_slots()),
                      [](v1::JobSpec& spec, int32_t slots) {
                        v1::WorkersSpec changes;
                        changes.set_gathered_slots(slots);
                        ChangeWorkers(spec, changes);
                      });
}

Remedy FullShard(const v1::WorkersSpec& workers) {
  Remedy remedy{.field = "workers.strategy"};
  if (workers.strategy() == v1::FULL_SHARD) return remedy;
  remedy.values.push_back({"workers.strategy FULL_SHARD", [](v1::JobSpec& spec) {
                             v1::WorkersSpec changes;
                             changes.set_strategy(v1::FULL_SHARD);
                             ChangeWorkers(spec, changes);
                           }});
  return remedy;
}

// More where each may use a given number of bytes; fewer where they share a host, since what every
// one needs for itself is then there less often.
Remedy OtherWorkers(const v1::JobSpec& spec, const HostFacts& host) {
  std::vector<int32_t> counts;
  if (spec.gradient().memory_limit_bytes() > 0) {
    for (int32_t count = spec.workers().count() + 1; count <= host.slots; ++count) {
      counts.push_back(count);
    }
  } else {
    for (int32_t count = spec.workers().count() - 1; count >= 1; --count) counts.push_back(count);
  }
  return NumberRemedy("workers.count", counts, [](v1::JobSpec& changed, int32_t count) {
    changed.mutable_workers()->set_count(count);
  });
}

Remedy SmallerMicroBatches(const v1::JobSpec& spec) {
  return NumberRemedy("train.micro_batch_size", Smaller(spec.train().micro_batch_size()),
                      [](v1::JobSpec& changed, int32_t size) {
                        changed.mutable_train()->set_micro_batch_size(size);
                      });
}

// The leanest mode combines.
void AddModes(const v1::JobSpec& spec, std::vector<Remedy>& remedies) {
  const std::optional<layout::UnitMode> mode = layout::FindMode(spec.gradient().mode());
  if (!mode.has_value() || mode->norm == layout::Norm::kNone) return;  // `auto` has tried them.
  for (const layout::NamedMode& other :
       {layout::kFlashMode, layout::kPerExampleMode, layout::kFlashBkMode}) {
    // The same, but for the T x T matrices of GRAM.
    if (other.mode.kept == mode->kept && mode->norm != layout::Norm::kGram) continue;
    const std::string name(other.name);
    remedies.push_back(
        {.field = "gradient.mode",
         .values = {{absl::StrCat("gradient.mode ", name),
                     [name](v1::JobSpec& changed) { changed.mutable_gradient()->set_mode(name); }}},
         .combines = other.name == layout::kFlashMode.name});
  }
}

Remedy Checkpointing(const v1::JobSpec& spec) {
  Remedy remedy{.field = "train.activation_checkpointing"};
  if (spec.train().has_activation_checkpointing()) return remedy;
  remedy.values.push_back(
      {remedy.field, [](v1::JobSpec& changed) {
         changed.mutable_train()->mutable_activation_checkpointing()->set_every_blocks(1);
       }});
  return remedy;
}

// What a rank needs; nothing when it is too much or the spec makes no job.
std::optional<int64_t> TrainingBytes(const v1::JobSpec& spec, const HostFacts& host) {
  Rules rules;
  CheckWorkers(spec.workers(), host, rules);
  CheckSharding(spec, rules);
  const absl::StatusOr<Placement> placement = Placement::Create(spec, host);
  if (!rules.Check().ok() || !placement.ok()) return std::nullopt;
  layout::ModeChoice choice;
  // auto: the leanest.
  choice.mode = layout::FindMode(spec.gradient().mode()).value_or(layout::kFlashMode.mode);
  if (spec.gradient().deferred_norms()) choice.mode = layout::WithDeferredNorms(choice.mode);
  choice.micro_batch_size = std::max(1, spec.train().micro_batch_size());
  const int64_t shared = layout::CommunicatorBytes(placement->layout(), spec.workers().count());
  if (host.communicator_bytes > 0 && shared > host.communicator_bytes) return std::nullopt;
  const int64_t bytes = placement->Memory(choice).total_bytes();
  if (bytes > MemoryLimit(spec, host)) return std::nullopt;
  return bytes;
}

std::string OneOf(const std::vector<FoundRemedy>& found) {
  return absl::StrCat("one of these would fit: ",
                      absl::StrJoin(found, ", ", [](std::string* out, const FoundRemedy& one) {
                        absl::StrAppend(out, one.text);
                      }));
}

}  // namespace

int64_t MemoryLimit(const v1::JobSpec& spec, const HostFacts& host) {
  if (spec.gradient().memory_limit_bytes() > 0) return spec.gradient().memory_limit_bytes();
  if (host.memory_bytes > 0) return host.memory_bytes / spec.workers().count();
  return std::numeric_limits<int64_t>::max();
}

std::string MemoryRemedies(const v1::JobSpec& spec, const HostFacts& host, int64_t needed_bytes) {
  std::vector<Remedy> remedies = {SmallerMicroBatches(spec)};
  AddModes(spec, remedies);
  remedies.push_back(FewerSlots(spec.workers()));
  remedies.push_back(FullShard(spec.workers()));
  remedies.push_back(OtherWorkers(spec, host));
  remedies.push_back(Checkpointing(spec));
  const std::vector<FoundRemedy> found = FindRemedies(
      spec, remedies, [&host](const v1::JobSpec& changed) { return TrainingBytes(changed, host); });
  if (!found.empty()) return OneOf(found);
  const bool has_limit = spec.gradient().memory_limit_bytes() > 0;
  return absl::StrCat(
      "no change of micro-batch, mode, slots, strategy, workers or checkpointing would do, nor all "
      "of them together: it takes ",
      has_limit ? "gradient.memory_limit_bytes " : "a share of the host's memory of ",
      needed_bytes);
}

std::string InferenceRemedies(const v1::JobSpec& spec, const HostFacts& host,
                              absl::FunctionRef<std::optional<int64_t>(const v1::JobSpec&)> bytes,
                              std::string& field) {
  std::vector<Remedy> remedies;
  constexpr char kBatch[] = "inference.batch_size";
  remedies.push_back(NumberRemedy(kBatch, Smaller(spec.inference().batch_size()),
                                  [](v1::JobSpec& changed, int32_t size) {
                                    changed.mutable_inference()->set_batch_size(size);
                                  }));
  remedies.push_back(FewerSlots(spec.workers()));
  remedies.push_back(FullShard(spec.workers()));
  remedies.push_back(OtherWorkers(spec, host));
  const std::vector<FoundRemedy> found =
      FindRemedies(spec, remedies, [&](const v1::JobSpec& changed) {
        std::optional<int64_t> needed = bytes(changed);
        if (needed.has_value() && *needed > MemoryLimit(changed, host)) needed.reset();
        return needed;
      });
  const bool reads_less = !found.empty() && found.front().fields.front() == kBatch;
  field = reads_less ? kBatch : "workers.count";
  if (!found.empty()) return OneOf(found);
  std::string leanest;
  const v1::JobSpec least = WithLeanest(spec, remedies, leanest);
  return absl::StrCat("nothing that the job can change would do",
                      leanest.empty() ? ""
                                      : absl::StrCat(": even ", leanest, " needs ",
                                                     Mebibytes(bytes(least).value_or(0))));
}

}  // namespace sotto::planning
