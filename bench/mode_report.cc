#include "bench/mode_report.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "bench/mode_plan.h"

namespace sotto::bench {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

double Median(std::vector<double> values) {
  if (values.empty()) return kNone;
  std::sort(values.begin(), values.end());
  return 0.5 * (values[(values.size() - 1) / 2] + values[values.size() / 2]);
}

const Measured* Find(const MeasuredShape& measured, const std::string& name) {
  for (const Measured& contender : measured.contenders) {
    if (contender.name == name) return &contender;
  }
  return nullptr;
}

double MedianOf(const Measured& measured, double StepTimes::*member) {
  std::vector<double> values;
  for (const StepTimes& step : measured.steps) values.push_back(step.*member);
  return Median(std::move(values));
}

// Over the rounds that both ran.
double MedianRatio(const Measured* base, const Measured& own, double StepTimes::*member) {
  if (base == nullptr) return kNone;
  std::map<int, double> base_by_round;
  for (size_t i = 0; i < base->steps.size(); ++i) {
    base_by_round[base->rounds[i]] = base->steps[i].*member;
  }
  std::vector<double> ratios;
  for (size_t i = 0; i < own.steps.size(); ++i) {
    const auto found = base_by_round.find(own.rounds[i]);
    if (found != base_by_round.end()) ratios.push_back(found->second / (own.steps[i].*member));
  }
  return Median(std::move(ratios));
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

nlohmann::json StepsOf(const Measured& measured, double StepTimes::*member) {
  nlohmann::json values = nlohmann::json::array();
  for (const StepTimes& step : measured.steps) values.push_back(step.*member);
  return values;
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
    const double seconds = MedianOf(own, &StepTimes::seconds);
    const Measured* immediate = ImmediateOf(measured, own);
    rows.push_back(
        {.name = own.name,
         .is_peer = own.is_peer,
         .tokens_per_second = static_cast<double>(measured.shape.step_tokens()) / seconds,
         .ratio_to_no_dp = MedianRatio(no_dp, own, &StepTimes::seconds),
         .cpu_ratio_to_no_dp = MedianRatio(no_dp, own, &StepTimes::cpu_seconds),
         .ratio_to_pytorch = MedianRatio(pytorch, own, &StepTimes::seconds),
         .ratio_to_immediate = MedianRatio(immediate, own, &StepTimes::seconds),
         .memory_to_immediate = MemoryRatio(immediate, own),
         .release_share = MedianOf(own, &StepTimes::release_seconds) / seconds,
         .peak_bytes = own.peak_bytes,
         .planned_bytes = own.planned_bytes,
         .tensor_peak_bytes = own.tensor_peak_bytes,
         .planned_tensor_bytes = own.planned_tensor_bytes,
         .repeats = static_cast<int>(own.steps.size())});
  }
  return rows;
}

std::string TextOf(const MeasuredShape& measured) {
  const ModeShape& shape = measured.shape;
  std::string text = absl::StrFormat(
      "%s (%.1fM parameters), T=%d, %d micro-batches of %d examples, %d threads, %d of %d rounds\n",
      shape.model, 1e-6 * static_cast<double>(measured.parameters), shape.tokens,
      shape.micro_batches, shape.examples, shape.threads, measured.rounds, measured.rounds_asked);
  const std::vector<ModeRow> rows = RowsOf(measured);
  for (const ModeRow& row : rows) {
    absl::StrAppendFormat(
        &text,
        "  %-14s %8.0f tokens/s  ratio %.3f (CPU time %.3f)  tensors %5d of %5d MiB  "
        "resident %5d of %5d MiB  noise and optimizer %.1f%%  n=%d\n",
        row.name, row.tokens_per_second, row.ratio_to_no_dp, row.cpu_ratio_to_no_dp,
        row.tensor_peak_bytes >> 20, row.planned_tensor_bytes >> 20, row.peak_bytes >> 20,
        row.planned_bytes >> 20, 100 * row.release_share, row.repeats);
  }
  for (const ModeRow& row : rows) {
    if (std::isnan(row.ratio_to_immediate)) continue;
    absl::StrAppendFormat(&text, "  %s: %.3f of the speed of immediate norms, %.3f of the memory\n",
                          row.name, row.ratio_to_immediate, row.memory_to_immediate);
  }
  if (const ModeRow* best = BestOf(rows, /*is_peer=*/false, {"no_dp", "auto"}); best != nullptr) {
    absl::StrAppendFormat(&text, "  best fixed mode: %s, %.3f of no_dp\n", best->name,
                          best->ratio_to_no_dp);
  }
  if (const ModeRow* best = BestOf(rows, /*is_peer=*/true, {"pytorch"}); best != nullptr) {
    const ModeRow* own = BestOf(rows, /*is_peer=*/false, {"no_dp"});
    if (own != nullptr) {
      absl::StrAppendFormat(&text, "  best DP mode (%s) over Opacus's best (%s): %.2f\n", own->name,
                            best->name, own->tokens_per_second / best->tokens_per_second);
    }
  }
  if (const Measured* automatic = Find(measured, "auto"); automatic != nullptr) {
    absl::StrAppend(&text, "  auto: ", automatic->choice, "\n");
  }
  return text;
}

nlohmann::json JsonOf(const MeasuredShape& measured) {
  const ModeShape& shape = measured.shape;
  nlohmann::json json = {{"model", shape.model},
                         {"parameters", measured.parameters},
                         {"tokens", shape.tokens},
                         {"examples", shape.examples},
                         {"micro_batches", shape.micro_batches},
                         {"threads", shape.threads},
                         {"clip_norm", measured.clip_norm},
                         {"rounds", measured.rounds},
                         {"rounds_asked", measured.rounds_asked}};
  const std::vector<ModeRow> rows = RowsOf(measured);
  for (size_t i = 0; i < rows.size(); ++i) {
    const ModeRow& row = rows[i];
    const Measured& own = measured.contenders[i];
    // Ratios that do not exist (no base) become null.
    json["rows"].push_back({{"mode", row.name},
                            {"is_peer", row.is_peer},
                            {"tokens_per_second", row.tokens_per_second},
                            {"ratio_to_no_dp", row.ratio_to_no_dp},
                            {"cpu_ratio_to_no_dp", row.cpu_ratio_to_no_dp},
                            {"ratio_to_pytorch", row.ratio_to_pytorch},
                            {"ratio_to_immediate", row.ratio_to_immediate},
                            {"memory_to_immediate", row.memory_to_immediate},
                            {"release_share", row.release_share},
                            {"peak_bytes", row.peak_bytes},
                            {"planned_bytes", row.planned_bytes},
                            {"tensor_peak_bytes", row.tensor_peak_bytes},
                            {"planned_tensor_bytes", row.planned_tensor_bytes},
                            {"repeats", row.repeats},
                            {"choice", own.choice},
                            {"rounds", own.rounds},
                            {"step_seconds", StepsOf(own, &StepTimes::seconds)},
                            {"step_cpu_seconds", StepsOf(own, &StepTimes::cpu_seconds)},
                            {"step_release_seconds", StepsOf(own, &StepTimes::release_seconds)}});
  }
  return json;
}

}  // namespace sotto::bench
