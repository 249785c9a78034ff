#include "server/planning/memory_remedies.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/layout/gradient_mode.h"
#include "common/layout/known_modes.h"
#include "server/planning/placement.h"

namespace sotto::planning {
namespace {

std::string Mebibytes(int64_t bytes) {
  return absl::StrFormat("%.0f MiB", static_cast<double>(bytes) / (1 << 20));
}

class Search {
 public:
  Search(const HostFacts& host, int64_t limit) : host_(host), limit_(limit) {}

  // What a rank needs; nothing when it is too much or the spec makes no job.
  std::optional<int64_t> Fits(const v1::JobSpec& spec) const {
    const absl::StatusOr<Placement> placement = Placement::Create(spec, host_);
    if (!placement.ok()) return std::nullopt;
    const std::string& mode = spec.gradient().mode();
    layout::ModeChoice choice;
    choice.mode = layout::FindMode(mode).value_or(layout::kFlashMode.mode);  // auto: the leanest
    if (spec.gradient().deferred_norms()) choice.mode = layout::WithDeferredNorms(choice.mode);
    choice.micro_batch_size = std::max(1, spec.train().micro_batch_size());
    if (spec.train().has_activation_checkpointing() &&
        choice.mode.kept == layout::Kept::kOutputGrads) {
      return std::nullopt;  // Refused.
    }
    const int64_t bytes = placement->Memory(choice).total_bytes();
    if (bytes > limit_) return std::nullopt;
    return bytes;
  }

  void Try(const std::string& change, const v1::JobSpec& spec) {
    if (const std::optional<int64_t> bytes = Fits(spec); bytes.has_value()) {
      found_.push_back(absl::StrCat(change, " needs ", Mebibytes(*bytes)));
    }
  }

  const std::vector<std::string>& found() const { return found_; }

 private:
  const HostFacts& host_;
  const int64_t limit_;
  std::vector<std::string> found_;
};

// The largest that fits.
void TrySmallerMicroBatches(const v1::JobSpec& spec, Search& search) {
  v1::JobSpec changed = spec;
  for (int32_t size = spec.train().micro_batch_size() - 1; size >= 1;
       size = size > 16 ? size / 2 : size - 1) {
    changed.mutable_train()->set_micro_batch_size(size);
    if (!search.Fits(changed).has_value()) continue;
    search.Try(absl::StrCat("train.micro_batch_size ", size), changed);
    return;
  }
}

void TryModes(const v1::JobSpec& spec, Search& search) {
  const std::optional<layout::UnitMode> mode = layout::FindMode(spec.gradient().mode());
  if (!mode.has_value() || mode->norm == layout::Norm::kNone) return;  // `auto` has tried them.
  for (const layout::NamedMode& other :
       {layout::kFlashMode, layout::kPerExampleMode, layout::kFlashBkMode}) {
    if (other.mode.kept == mode->kept) continue;
    const std::string name(other.name);
    v1::JobSpec changed = spec;
    changed.mutable_gradient()->set_mode(name);
    search.Try(absl::StrCat("gradient.mode ", name), changed);
  }
}

// The fewest that fit. A limit that is the host's memory over its ranks shrinks with more of them.
void TryMoreWorkers(const v1::JobSpec& spec, const HostFacts& host, Search& search) {
  if (spec.gradient().memory_limit_bytes() <= 0 || spec.workers().strategy() == v1::HYBRID_SHARD) {
    return;
  }
  v1::JobSpec changed = spec;
  for (int count = spec.workers().count() + 1; count <= host.slots; ++count) {
    changed.mutable_workers()->set_count(count);
    if (!search.Fits(changed).has_value()) continue;
    search.Try(absl::StrCat("workers.count ", count), changed);
    return;
  }
}

void TryCheckpointing(const v1::JobSpec& spec, Search& search) {
  if (spec.train().has_activation_checkpointing()) return;
  v1::JobSpec changed = spec;
  changed.mutable_train()->mutable_activation_checkpointing()->set_every_blocks(1);
  search.Try("train.activation_checkpointing", changed);
}

}  // namespace

std::string MemoryRemedies(const v1::JobSpec& spec, const HostFacts& host, int64_t limit_bytes,
                           int64_t needed_bytes) {
  Search search(host, limit_bytes);
  TrySmallerMicroBatches(spec, search);
  TryModes(spec, search);
  TryMoreWorkers(spec, host, search);
  TryCheckpointing(spec, search);
  if (!search.found().empty()) {
    return absl::StrCat("one of these would fit: ", absl::StrJoin(search.found(), ", "));
  }
  return absl::StrCat(
      "no one change of micro-batch, mode, workers or checkpointing would do: it "
      "takes gradient.memory_limit_bytes ",
      needed_bytes);
}

}  // namespace sotto::planning
