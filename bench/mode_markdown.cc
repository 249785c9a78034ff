#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "bench/mode_report.h"
#include "bench/mode_rows.h"

namespace sotto::bench {
namespace {

// Shapes with fewer contenders have no table of their own.
constexpr size_t kManyContenders = 8;

// One line of the table of targets.
struct Target {
  std::string asked;
  std::vector<std::string> measured;
  bool is_met = true;
};

std::string ModelName(const MeasuredShape& measured) {
  return absl::StrFormat("%.1fM", 1e-6 * static_cast<double>(measured.parameters));
}

std::string WithSpread(const Spread& spread) {
  return absl::StrFormat("%.3f (%.3f to %.3f)", spread.median, spread.low, spread.high);
}

std::string OfPlan(int64_t bytes, int64_t planned_bytes) {
  if (bytes == 0) return "-";
  if (planned_bytes == 0) return absl::StrCat(bytes >> 20);
  return absl::StrFormat("%d / %d", bytes >> 20, planned_bytes >> 20);
}

std::string ShapesTable(const std::vector<MeasuredShape>& all) {
  std::string text =
      "| model | T, B | `no_dp` tokens/s | best fixed mode over it (of how many) | `auto` over it "
      "| auto's "
      "choice "
      "| noise, optimizer, sampling (`auto`) | tensors / plan MiB (`auto`) | rounds "
      "|\n|---|---|---|---|---|---|---|---|---|\n";
  for (const MeasuredShape& measured : all) {
    const std::vector<ModeRow> rows = RowsOf(measured);
    const ModeRow* no_dp = FindRow(rows, "no_dp");
    const ModeRow* best = BestFixedMode(rows);
    const ModeRow* automatic = FindRow(rows, "auto");
    if (no_dp == nullptr || best == nullptr || automatic == nullptr) continue;
    absl::StrAppendFormat(
        &text, "| %s | %d, %d | %.0f | `%s` %s (%s) | %s | %s | %.1f%% | %s | %d |\n",
        ModelName(measured), measured.shape.tokens, measured.shape.examples,
        no_dp->tokens_per_second, best->name, WithSpread(best->ratio_to_no_dp),
        NumFixedModes(rows) > 1 ? absl::StrCat(NumFixedModes(rows)) : "only one measured",
        WithSpread(automatic->ratio_to_no_dp), automatic->choice, 100 * automatic->release_share,
        OfPlan(automatic->tensor_peak_bytes, automatic->planned_tensor_bytes), measured.rounds);
  }
  return text;
}

std::string ModesTable(const MeasuredShape& measured) {
  std::string text = absl::StrFormat(
      "%s, T=%d, B=%d, %d of %d rounds; quartiles in brackets, MiB measured / planned:\n\n"
      "| mode | tokens/s | over `no_dp` | the same in CPU time | tensors | resident | noise, "
      "optimizer, sampling | steps |\n|---|---|---|---|---|---|---|---|\n",
      ModelName(measured), measured.shape.tokens, measured.shape.examples, measured.rounds,
      measured.rounds_asked);
  std::vector<std::string> deferred;
  for (const ModeRow& row : RowsOf(measured)) {
    absl::StrAppendFormat(
        &text, "| `%s` | %.0f | %s | %.3f | %s | %s | %s | %d |\n", row.name, row.tokens_per_second,
        WithSpread(row.ratio_to_no_dp), row.cpu_ratio_to_no_dp,
        OfPlan(row.tensor_peak_bytes, row.planned_tensor_bytes),
        OfPlan(row.peak_bytes, row.planned_bytes),
        row.is_peer ? "-" : absl::StrFormat("%.1f%%", 100 * row.release_share), row.repeats);
    if (std::isnan(row.ratio_to_immediate)) continue;
    deferred.push_back(absl::StrFormat("`%s` %.3f and %.3f", row.name, row.ratio_to_immediate,
                                       row.memory_to_immediate));
  }
  if (!deferred.empty()) {
    absl::StrAppend(&text, "\nSpeed and memory of tensors over immediate norms: ",
                    absl::StrJoin(deferred, ", "), ".\n");
  }
  return text;
}

// The best DP mode over no_dp, of every model at this length.
Target BestAtLength(const std::vector<MeasuredShape>& all, int64_t tokens, double least) {
  Target target{.asked =
                    absl::StrFormat("best DP over `no_dp` at T=%d: at least %.2f", tokens, least)};
  for (const MeasuredShape& measured : all) {
    const std::vector<ModeRow> rows = RowsOf(measured);
    const ModeRow* best = BestMode(rows);
    if (measured.shape.tokens != tokens || best == nullptr) continue;
    target.measured.push_back(absl::StrFormat("%s %.3f (`%s`)", ModelName(measured),
                                              best->ratio_to_no_dp.median, best->name));
    target.is_met = target.is_met && best->ratio_to_no_dp.median >= least;
  }
  return target;
}

Target AutoAgainstFixed(const std::vector<MeasuredShape>& all) {
  Target target{.asked = "`auto` within 5% of the best fixed mode measured beside it"};
  for (const MeasuredShape& measured : all) {
    const std::vector<ModeRow> rows = RowsOf(measured);
    const ModeRow* automatic = FindRow(rows, "auto");
    const ModeRow* best = BestFixedMode(rows);
    if (automatic == nullptr || best == nullptr) continue;
    const double ratio = automatic->ratio_to_no_dp.median / best->ratio_to_no_dp.median;
    target.measured.push_back(absl::StrFormat(
        "%s T=%d %.3f%s", ModelName(measured), measured.shape.tokens, ratio,
        NumFixedModes(rows) > 1 ? ""
                                : absl::StrCat(" (only fixed mode measured: `", best->name, "`)")));
    target.is_met = target.is_met && ratio >= 0.95;
  }
  return target;
}

Target AgainstPytorch(const std::vector<MeasuredShape>& all) {
  Target target{.asked = "`no_dp` at least PyTorch's tokens/s"};
  for (const MeasuredShape& measured : all) {
    const std::vector<ModeRow> rows = RowsOf(measured);
    const ModeRow* no_dp = FindRow(rows, "no_dp");
    if (no_dp == nullptr || std::isnan(no_dp->ratio_to_pytorch)) continue;
    target.measured.push_back(
        absl::StrFormat("%.2f at T=%d", no_dp->ratio_to_pytorch, measured.shape.tokens));
    target.is_met = target.is_met && no_dp->ratio_to_pytorch >= 1;
  }
  return target;
}

// Round by round. Asked of T=128; the other lengths are told.
Target AgainstOpacus(const std::vector<MeasuredShape>& all) {
  Target target{.asked = "best DP at least 1.8 times Opacus's best at T=128"};
  for (const MeasuredShape& measured : all) {
    const std::optional<PairedRatio> best = BestOverOpacus(measured);
    if (!best.has_value()) continue;
    target.measured.push_back(absl::StrFormat("%.2f (%.2f to %.2f; n=%d) at T=%d",
                                              best->ratio.median, best->ratio.low, best->ratio.high,
                                              best->rounds, measured.shape.tokens));
    if (measured.shape.tokens == 128) target.is_met = target.is_met && best->ratio.median >= 1.8;
  }
  return target;
}

Target ReleaseShare(const std::vector<MeasuredShape>& all) {
  double least = std::numeric_limits<double>::infinity();
  double most = 0;
  for (const MeasuredShape& measured : all) {
    for (const ModeRow& row : RowsOf(measured)) {
      if (row.is_peer || row.name == "no_dp") continue;
      least = std::min(least, row.release_share);
      most = std::max(most, row.release_share);
    }
  }
  return {.asked = "sampling, noise and optimizer at most 3% of a step",
          .measured = {absl::StrFormat("%.1f to %.1f%%", 100 * least, 100 * most)},
          .is_met = most <= 0.03};
}

Target MemoryAgainstPlan(const std::vector<MeasuredShape>& all) {
  double least = std::numeric_limits<double>::infinity();
  double most = 0;
  for (const MeasuredShape& measured : all) {
    for (const ModeRow& row : RowsOf(measured)) {
      if (row.tensor_peak_bytes == 0) continue;
      const double ratio = static_cast<double>(row.planned_tensor_bytes) /
                           static_cast<double>(row.tensor_peak_bytes);
      least = std::min(least, ratio);
      most = std::max(most, ratio);
    }
  }
  return {.asked = "tensors measured <= plan <= 1.05 measured",
          .measured = {absl::StrFormat("plan %.4f to %.4f of measured", least, most)},
          .is_met = least >= 1 && most <= 1.05};
}

std::string TargetsTable(const std::vector<MeasuredShape>& all) {
  std::string text = "| target | measured | |\n|---|---|---|\n";
  for (const Target& target :
       {BestAtLength(all, 128, 0.90), BestAtLength(all, 512, 0.95), AutoAgainstFixed(all),
        AgainstPytorch(all), AgainstOpacus(all), ReleaseShare(all), MemoryAgainstPlan(all)}) {
    if (target.measured.empty()) continue;
    absl::StrAppendFormat(&text, "| %s | %s | %s |\n", target.asked,
                          absl::StrJoin(target.measured, ", "), target.is_met ? "met" : "missed");
  }
  return text;
}

}  // namespace

std::string MarkdownOf(const std::vector<MeasuredShape>& measured) {
  std::string text = ShapesTable(measured);
  for (const MeasuredShape& shape : measured) {
    if (shape.contenders.size() >= kManyContenders) absl::StrAppend(&text, "\n", ModesTable(shape));
  }
  return absl::StrCat(text, "\n", TargetsTable(measured));
}

}  // namespace sotto::bench
