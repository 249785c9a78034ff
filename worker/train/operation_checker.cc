#include "worker/train/operation_checker.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "ATen/ops/isfinite.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "common/base/status_macros.h"
#include "common/crypto/sha256.h"
#include "worker/train/failure_reason.h"

namespace sotto::train {
namespace {

using layout::Operation;

// What ranks tell each other, as floats that hold bytes: whether there is an offence, then the
// operation's digest.
constexpr size_t kDigestFloats = 32;
constexpr size_t kTextFloats = 512;

absl::Span<const float> Values(const at::Tensor& flat) {
  return {flat.const_data_ptr<float>(), static_cast<size_t>(flat.numel())};
}

uint64_t ContentsOf(const at::Tensor& flat) {
  uint64_t hash = 14695981039346656037u;  // FNV-1a over words.
  for (float value : Values(flat)) {
    uint32_t bits = 0;
    std::memcpy(&bits, &value, sizeof(bits));
    hash = (hash ^ bits) * 1099511628211u;
  }
  return hash;
}

bool IsFinite(absl::Span<const float> values) {
  return std::all_of(values.begin(), values.end(),
                     [](float value) { return std::isfinite(value); });
}

bool IsZero(absl::Span<const float> values) {
  return std::all_of(values.begin(), values.end(), [](float value) { return value == 0; });
}

// Every rank's bytes.
absl::StatusOr<std::vector<std::string>> GatherBytes(comm::Communicator& communicator,
                                                     std::string bytes, size_t size) {
  bytes.resize(size, '\0');
  std::vector<float> own(size);
  for (size_t i = 0; i < size; ++i) own[i] = static_cast<float>(static_cast<uint8_t>(bytes[i]));
  std::vector<float> all(size * communicator.world_size());
  RETURN_IF_ERROR(communicator.AllGather(own, absl::MakeSpan(all)));
  std::vector<std::string> ranks;
  for (size_t begin = 0; begin < all.size(); begin += size) {
    std::string& rank = ranks.emplace_back();
    for (size_t i = 0; i < size; ++i) rank.push_back(static_cast<char>(all[begin + i]));
  }
  return ranks;
}

absl::Status OffenceError(int rank, absl::string_view what) {
  return WithFailureReason(
      absl::InternalError(absl::StrCat("check_operations: rank ", rank, ": ", what)),
      FailureReason::kPlanCannotRun);
}

}  // namespace

absl::Status OperationChecker::Before(const layout::ScheduledOperation& operation) {
  const std::string next = absl::StrCat(++count_, ": ", layout::PrintOperation(operation));
  if (offence_.empty()) {
    current_ = absl::StrCat("before operation ", next);
    CheckState(operation);
  }
  RETURN_IF_ERROR(Exchange(next));
  current_ = absl::StrCat("after operation ", next);
  return absl::OkStatus();
}

absl::Status OperationChecker::Finish() {
  RETURN_IF_ERROR(Exchange("the end"));
  gathered_.clear();
  contents_.clear();
  gradients_.clear();
  count_ = 0;
  return absl::OkStatus();
}

// The first rank with an offence, or the first one that is elsewhere than rank 0.
absl::Status OperationChecker::Exchange(const std::string& operation) {
  const crypto::Sha256Digest digest = crypto::Sha256Of(operation);
  std::string own(kDigestFloats, '\0');
  own[0] = offence_.empty() ? 0 : 1;
  std::copy_n(digest.begin(), kDigestFloats - 1, own.begin() + 1);
  comm::Communicator& communicator = parameters_.communicator();
  ASSIGN_OR_RETURN(const std::vector<std::string> all,
                   GatherBytes(communicator, own, kDigestFloats));
  const auto offends = [](const std::string& rank) { return rank[0] != 0; };
  const auto differs = [&](const std::string& rank) { return rank != all[0]; };
  auto first = std::find_if(all.begin(), all.end(), offends);
  const bool offence = first != all.end();
  if (!offence) first = std::find_if(all.begin(), all.end(), differs);
  if (first == all.end()) return absl::OkStatus();
  const auto rank = static_cast<int>(first - all.begin());
  ASSIGN_OR_RETURN(
      const std::vector<std::string> texts,
      GatherBytes(communicator, offence ? offence_ : absl::StrCat("operation ", operation),
                  kTextFloats));
  const std::string text = texts[rank].c_str();  // Up to the first zero.
  if (offence) return OffenceError(rank, text);
  return OffenceError(rank, absl::StrCat(text, ", but rank 0 is at ", texts[0].c_str()));
}

void OperationChecker::CheckState(const layout::ScheduledOperation& operation) {
  if (operation.operations == Operation::kGather) return CheckGather(operation);
  if (operation.operations == Operation::kReshard) {
    if (gathered_[operation.slot].erase(operation.unit) == 0) {
      Offend(operation.unit, absl::StrCat("is not gathered in slot ", operation.slot));
    }
    return;
  }
  if (operation.operations == Operation::kReduce) {
    if (gradients_[operation.gradient_slot].erase(operation.unit) == 0) {
      Offend(operation.unit, absl::StrCat("has no gradient in slot ", operation.gradient_slot));
    }
    return;
  }
  if (operation.slot >= 0) CheckGathered(operation);
  if (operation.gradient_slot >= 0) CheckGradientSlot(operation);
}

void OperationChecker::CheckGather(const layout::ScheduledOperation& operation) {
  for (const auto& [slot, units] : gathered_) {
    if (units.contains(operation.unit)) {
      Offend(operation.unit, absl::StrCat("is gathered already, in slot ", slot));
    }
  }
  std::set<int>& holds = gathered_[operation.slot];
  for (int other : holds) {
    if (AreOfOneBlock(other, operation.unit)) continue;
    Offend(operation.unit,
           absl::StrCat("goes into slot ", operation.slot, ", which still holds unit ",
                        parameters_.model().units[other].name));
  }
  holds.insert(operation.unit);
}

bool OperationChecker::AreOfOneBlock(int a, int b) const {
  for (int block = 0; block < parameters_.num_blocks(); ++block) {
    const absl::Span<const int> units = parameters_.UnitsOfBlock(block);
    const auto has = [&](int unit) {
      return std::find(units.begin(), units.end(), unit) != units.end();
    };
    if (has(a) && has(b)) return true;
  }
  return false;
}

void OperationChecker::CheckGathered(const layout::ScheduledOperation& operation) {
  for (int unit : parameters_.UnitsOfBlock(operation.block)) {
    if (parameters_.strategy() == layout::Strategy::kNoShard) {
      CheckWholeShard(unit, operation.slot);
    } else if (!gathered_[operation.slot].contains(unit)) {
      Offend(unit, absl::StrCat("is not gathered in slot ", operation.slot));
    } else if (ContentsOf(parameters_.WholeUnit(unit, operation.slot)) != contents_[unit]) {
      Offend(unit, absl::StrCat("was changed in slot ", operation.slot, " since it was gathered"));
    }
  }
}

// Under NO_SHARD nothing is ever gathered: slots are the shards. Between optimizer steps, so within
// a schedule, nothing changes them.
void OperationChecker::CheckWholeShard(int unit, int slot) {
  const at::Tensor& whole = parameters_.WholeUnit(unit, slot);
  const auto [contents, is_first] = contents_.emplace(unit, ContentsOf(whole));
  if (is_first) {
    CheckFlat(whole, unit, /*with_frozen=*/true, "parameter");
  } else if (ContentsOf(whole) != contents->second) {
    Offend(unit, "was changed since it was first read");
  }
}

void OperationChecker::CheckGradientSlot(const layout::ScheduledOperation& operation) {
  std::set<int>& holds = gradients_[operation.gradient_slot];
  for (int unit : parameters_.UnitsOfBlock(operation.block)) {
    if (!parameters_.layout().unit(unit).has_trainable()) continue;
    if (operation.clears_gradient) holds.insert(unit);
    if (!holds.contains(unit)) {
      Offend(unit, absl::StrCat("has no gradient in slot ", operation.gradient_slot));
    }
  }
  for (int unit : holds) {
    const absl::Span<const int> own = parameters_.UnitsOfBlock(operation.block);
    if (std::find(own.begin(), own.end(), unit) != own.end()) continue;
    Offend(unit, absl::StrCat("has a gradient in slot ", operation.gradient_slot,
                              ", which another block writes"));
  }
}

void OperationChecker::After(const layout::ScheduledOperation& operation,
                             const at::Tensor& flowing) {
  if (!offence_.empty()) return;
  if (operation.operations == Operation::kGather) {
    const at::Tensor& whole = parameters_.WholeUnit(operation.unit, operation.slot);
    contents_[operation.unit] = ContentsOf(whole);
    CheckFlat(whole, operation.unit, /*with_frozen=*/true, "parameter");
  } else if (operation.operations == Operation::kReduce) {
    CheckShard(operation.unit);
  } else if (operation.gradient_slot >= 0) {
    CheckGradient(operation);
  }
  const bool private_values = operation.stage >= 0;
  if (!private_values || !options_.checks_activations || !flowing.defined()) return;
  if (!flowing.isfinite().all().item<bool>()) {
    Offend(parameters_.UnitsOfBlock(operation.block).front(), "made infinite or NaN activations");
  }
}

void OperationChecker::CheckGradient(const layout::ScheduledOperation& operation) {
  for (int unit : parameters_.UnitsOfBlock(operation.block)) {
    if (!parameters_.layout().unit(unit).has_trainable()) continue;
    CheckFlat(parameters_.WholeGradient(unit, operation.gradient_slot), unit,
              /*with_frozen=*/false, "gradient");
  }
}

void OperationChecker::CheckFlat(const at::Tensor& flat, int unit, bool with_frozen,
                                 absl::string_view what) {
  const absl::Span<const float> values = Values(flat);
  std::vector<layout::Interval> used;
  for (const layout::ParameterLayout& parameter : parameters_.layout().unit(unit).parameters) {
    if (parameter.trainable || with_frozen) used.push_back(parameter.interval());
  }
  std::sort(used.begin(), used.end(),
            [](const auto& a, const auto& b) { return a.begin < b.begin; });
  used.push_back({flat.numel(), flat.numel()});
  int64_t end = 0;
  for (const layout::Interval& interval : used) {
    if (!IsZero(values.subspan(end, interval.begin - end))) {
      Offend(unit, absl::StrCat("has ", what, " padding that is not zero"));
    }
    if (!IsFinite(values.subspan(interval.begin, interval.size()))) {
      Offend(unit, absl::StrCat("has an infinite or NaN ", what));
    }
    end = interval.end;
  }
}

void OperationChecker::CheckShard(int unit) {
  const absl::Span<const float> values = Values(parameters_.GradientShard(unit));
  if (!IsFinite(values)) return Offend(unit, "has an infinite or NaN reduced gradient");
  int64_t end = 0;
  std::vector<layout::Interval> used =
      parameters_.layout().UsedIntervals(unit, parameters_.shard_rank());
  used.push_back({static_cast<int64_t>(values.size()), static_cast<int64_t>(values.size())});
  for (const layout::Interval& interval : used) {
    if (!IsZero(values.subspan(end, interval.begin - end))) {
      return Offend(unit, "has reduced gradient padding that is not zero");
    }
    end = interval.end;
  }
}

void OperationChecker::Offend(int unit, absl::string_view what) {
  if (!offence_.empty()) return;
  offence_ = absl::StrCat(current_, ": unit ", parameters_.model().units[unit].name, " ", what)
                 .substr(0, kTextFloats - 1);
}

}  // namespace sotto::train
