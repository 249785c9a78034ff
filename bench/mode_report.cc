#include "bench/mode_report.h"

#include <cmath>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "bench/mode_rows.h"

namespace sotto::bench {

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
        "  %-20s %8.0f tokens/s  ratio %.3f (%.3f to %.3f; CPU time %.3f)  tensors %5d of %5d MiB  "
        "resident %5d of %5d MiB  noise and optimizer %.1f%%  n=%d\n",
        row.name, row.tokens_per_second, row.ratio_to_no_dp.median, row.ratio_to_no_dp.low,
        row.ratio_to_no_dp.high, row.cpu_ratio_to_no_dp, row.tensor_peak_bytes >> 20,
        row.planned_tensor_bytes >> 20, row.peak_bytes >> 20, row.planned_bytes >> 20,
        100 * row.release_share, row.repeats);
  }
  for (const ModeRow& row : rows) {
    if (std::isnan(row.ratio_to_immediate)) continue;
    absl::StrAppendFormat(&text, "  %s: %.3f of the speed of immediate norms, %.3f of the memory\n",
                          row.name, row.ratio_to_immediate, row.memory_to_immediate);
  }
  if (const ModeRow* best = BestFixedMode(rows); best != nullptr) {
    absl::StrAppendFormat(&text, "  %s: %s, %.3f of no_dp\n",
                          NumFixedModes(rows) > 1 ? "best fixed mode" : "only fixed mode measured",
                          best->name, best->ratio_to_no_dp.median);
  }
  if (const std::optional<PairedRatio> best = BestOverOpacus(measured); best.has_value()) {
    absl::StrAppendFormat(
        &text,
        "  best DP mode (%s) over Opacus's best (%s), round by round: %.2f (%.2f to %.2f; n=%d)\n",
        best->own, best->base, best->ratio.median, best->ratio.low, best->ratio.high, best->rounds);
  }
  if (const ModeRow* automatic = FindRow(rows, "auto"); automatic != nullptr) {
    absl::StrAppend(&text, "  auto: ", automatic->choice, "\n");
  }
  return text;
}

}  // namespace sotto::bench
