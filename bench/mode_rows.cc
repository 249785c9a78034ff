#include "bench/mode_rows.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "absl/strings/strip.h"
#include "bench/mode_plan.h"

namespace sotto::bench {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

Spread SpreadOf(std::vector<double> values) {
  if (values.empty()) return {kNone, kNone, kNone};
  std::sort(values.begin(), values.end());
  const auto quantile = [&values](double share) {
    const double position = share * static_cast<double>(values.size() - 1);
    const auto below = static_cast<size_t>(position);
    const size_t above = std::min(below + 1, values.size() - 1);
    return values[below] +
           (position - static_cast<double>(below)) * (values[above] - values[below]);
  };
  return {quantile(0.25), quantile(0.5), quantile(0.75)};
}

const Measured* Find(const MeasuredShape& measured, const std::string& name) {
  for (const Measured& contender : measured.contenders) {
    if (contender.name == name) return &contender;
  }
  return nullptr;
}

Spread SpreadOf(const Measured& measured, double StepTimes::*member) {
  std::vector<double> values;
  for (const StepTimes& step : measured.steps) values.push_back(step.*member);
  return SpreadOf(std::move(values));
}

// base's over own's, of each round that both ran.
std::vector<double> RatiosOf(const Measured* base, const Measured& own, double StepTimes::*member) {
  if (base == nullptr) return {};
  std::map<int, double> base_by_round;
  for (size_t i = 0; i < base->steps.size(); ++i) {
    base_by_round[base->rounds[i]] = base->steps[i].*member;
  }
  std::vector<double> ratios;
  for (size_t i = 0; i < own.steps.size(); ++i) {
    const auto found = base_by_round.find(own.rounds[i]);
    if (found != base_by_round.end()) ratios.push_back(found->second / (own.steps[i].*member));
  }
  return ratios;
}

Spread RatioOf(const Measured* base, const Measured& own, double StepTimes::*member) {
  return SpreadOf(RatiosOf(base, own, member));
}

// The same mode with norms measured during the backward pass; null where `own` is no deferred one.
const Measured* ImmediateOf(const MeasuredShape& measured, const Measured& own) {
  absl::string_view name = own.name;
  return absl::ConsumeSuffix(&name, kDeferredSuffix) ? Find(measured, std::string(name)) : nullptr;
}

// Of tensors.
double MemoryRatio(const Measured* base, const Measured& own) {
  if (base == nullptr || base->tensor_peak_bytes == 0) return kNone;
  return static_cast<double>(own.tensor_peak_bytes) / static_cast<double>(base->tensor_peak_bytes);
}

const ModeRow* BestOf(const std::vector<ModeRow>& rows, bool is_peer,
                      const std::vector<std::string>& excluded) {
  const ModeRow* best = nullptr;
  for (const ModeRow& row : rows) {
    if (row.is_peer != is_peer ||
        std::find(excluded.begin(), excluded.end(), row.name) != excluded.end()) {
      continue;
    }
    if (best == nullptr || row.tokens_per_second > best->tokens_per_second) best = &row;
  }
  return best;
}

}  // namespace

std::vector<ModeRow> RowsOf(const MeasuredShape& measured) {
  const Measured* no_dp = Find(measured, "no_dp");
  const Measured* pytorch = Find(measured, "pytorch");
  std::vector<ModeRow> rows;
  for (const Measured& own : measured.contenders) {
    const Measured* immediate = ImmediateOf(measured, own);
    ModeRow& row = rows.emplace_back();
    row.name = own.name;
    row.is_peer = own.is_peer;
    row.step_seconds = SpreadOf(own, &StepTimes::seconds);
    row.tokens_per_second =
        static_cast<double>(measured.shape.step_tokens()) / row.step_seconds.median;
    row.ratio_to_no_dp = RatioOf(no_dp, own, &StepTimes::seconds);
    row.cpu_ratio_to_no_dp = RatioOf(no_dp, own, &StepTimes::cpu_seconds).median;
    row.ratio_to_pytorch = RatioOf(pytorch, own, &StepTimes::seconds).median;
    row.ratio_to_immediate = RatioOf(immediate, own, &StepTimes::seconds).median;
    row.memory_to_immediate = MemoryRatio(immediate, own);
    row.release_share = SpreadOf(own, &StepTimes::release_seconds).median / row.step_seconds.median;
    row.peak_bytes = own.peak_bytes;
    row.planned_bytes = own.planned_bytes;
    row.tensor_peak_bytes = own.tensor_peak_bytes;
    row.planned_tensor_bytes = own.planned_tensor_bytes;
    row.repeats = static_cast<int>(own.steps.size());
    row.choice = own.choice;
  }
  return rows;
}

const ModeRow* FindRow(const std::vector<ModeRow>& rows, const std::string& name) {
  const auto found =
      std::find_if(rows.begin(), rows.end(), [&](const ModeRow& row) { return row.name == name; });
  return found == rows.end() ? nullptr : &*found;
}

std::optional<PairedRatio> BestOverOpacus(const MeasuredShape& measured) {
  const std::vector<ModeRow> rows = RowsOf(measured);
  const ModeRow* own = BestMode(rows);
  const ModeRow* opacus = BestOpacus(rows);
  if (own == nullptr || opacus == nullptr) return std::nullopt;
  const std::vector<double> ratios =
      RatiosOf(Find(measured, opacus->name), *Find(measured, own->name), &StepTimes::seconds);
  if (ratios.empty()) return std::nullopt;
  return PairedRatio{own->name, opacus->name, SpreadOf(ratios), static_cast<int>(ratios.size())};
}

int NumFixedModes(const std::vector<ModeRow>& rows) {
  return static_cast<int>(std::count_if(rows.begin(), rows.end(), [](const ModeRow& row) {
    return !row.is_peer && row.name != "no_dp" && row.name != "auto";
  }));
}

const ModeRow* BestFixedMode(const std::vector<ModeRow>& rows) {
  return BestOf(rows, /*is_peer=*/false, {"no_dp", "auto"});
}

const ModeRow* BestMode(const std::vector<ModeRow>& rows) {
  return BestOf(rows, /*is_peer=*/false, {"no_dp"});
}

const ModeRow* BestOpacus(const std::vector<ModeRow>& rows) {
  return BestOf(rows, /*is_peer=*/true, {"pytorch"});
}

}  // namespace sotto::bench
