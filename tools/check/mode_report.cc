#include "tools/check/mode_report.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "tools/check/mode_consistency.h"

namespace sotto::check {
namespace {

// What the columns "ref." mean.
std::string ReferenceText(const ModeComparison& comparison) {
  const std::string& reference = comparison.preset.reference;
  if (!HasReference(comparison)) {
    return absl::StrCat("ref.: none, ", reference, " did not run.");
  }
  const bool clips_differ = std::any_of(
      comparison.outcomes.begin(), comparison.outcomes.end(), [&](const ModeOutcome& outcome) {
        return outcome.status.ok() && outcome.mode.Label() != reference &&
               !outcome.from_reference.has_value();
      });
  return absl::StrCat("ref.: ", reference,
                      clips_differ ? "; modes without a value clip otherwise than it does." : ".");
}

std::string ConsistencyText(const std::optional<Consistency>& consistency) {
  if (!consistency.has_value()) return "";
  return absl::StrFormat(
      "consistency   final loss          mean %.6f  std %.1e  largest difference %.1e\n"
      "              mean gradient norm  mean %.6f  std %.1e  largest difference %.1e\n\n",
      consistency->final_loss.mean, consistency->final_loss.standard_deviation,
      consistency->loss_range, consistency->gradient_norm.mean,
      consistency->gradient_norm.standard_deviation, consistency->gradient_norm_range);
}

std::string Small(const std::optional<Difference>& difference, double Spread::*member, bool loss) {
  if (!difference.has_value()) return "-";
  return absl::StrFormat("%.1e", (loss ? difference->loss : difference->gradient_norm).*member);
}

std::string Row(const ModeOutcome& outcome, const Tolerance& tolerance) {
  const std::string label = outcome.mode.Label();
  if (!outcome.status.ok()) {
    return absl::StrFormat("%-20s FAILED: %s\n", label, outcome.status.message());
  }
  return absl::StrFormat(
      "%-20s %10.6f %10.6f %7s  %8s %8s  %8s %8s  %8.1e  %s\n", label, outcome.run.FinalLoss(),
      outcome.run.MeanGradientNorm(),
      outcome.clips ? absl::StrFormat("%.0f%%", 100 * outcome.run.steps.front().clip_fraction)
                    : "-",
      Small(outcome.from_reference, &Spread::largest, true),
      Small(outcome.from_oracle, &Spread::largest, true),
      Small(outcome.from_reference, &Spread::largest, false),
      Small(outcome.from_oracle, &Spread::largest, false), RelativeDistance(outcome.run),
      outcome.Agrees(tolerance) ? "agrees" : "DIFFERS");
}

std::string OracleRow(const char* label, const std::optional<RecordedRun>& run) {
  if (!run.has_value()) return "";
  return absl::StrFormat("%-20s %10.6f %10.6f\n", label, run->FinalLoss(), run->MeanGradientNorm());
}

// Where a mode differs most, for those that do.
std::string Blame(const ModeOutcome& outcome, const Tolerance& tolerance) {
  std::string text;
  const auto say = [&](const std::optional<Difference>& difference, const char* other) {
    if (!difference.has_value() || difference->IsWithin(tolerance)) return;
    absl::StrAppendFormat(
        &text,
        "  %s differs from %s: gradient norm by up to %.3e (step %d), loss by up to %.3e; "
        "most in %s, by %.3e\n",
        outcome.mode.Label(), other, difference->gradient_norm.largest, difference->worst_step,
        difference->loss.largest,
        difference->worst_layer.empty() ? "no matrix" : difference->worst_layer,
        difference->largest_layer_gradient_norm);
    if (difference->parameter_distance <= tolerance.parameter_distance) return;
    absl::StrAppendFormat(&text, "  its last parameters are %.1e of their norm away, limit %.1e\n",
                          difference->parameter_distance, tolerance.parameter_distance);
  };
  say(outcome.from_reference, "the reference mode");
  say(outcome.from_oracle, "the fp64 oracle");
  return text;
}

// Where a clip norm of the user's leaves half of clipping untried.
std::string ClipWarning(const ModeComparison& comparison) {
  if (!comparison.preset.clip_norm_given || !comparison.clipped_oracle.has_value()) return "";
  const char* what = nullptr;
  if (ClipsNothing(*comparison.clipped_oracle)) {
    what = "clips nothing at any step, so that wrong norms would not show; take a smaller one";
  } else if (ClipsEverything(*comparison.clipped_oracle)) {
    what =
        "clips every example at every step, so that nothing tells whether those below it stay as "
        "they are; take a larger one";
  } else {
    return "";
  }
  return absl::StrFormat("warning: --clip_norm %g %s\n\n", comparison.preset.settings.clip_norm,
                         what);
}

std::string DistanceLimitText(const Tolerance& tolerance) {
  if (!std::isfinite(tolerance.parameter_distance)) return "";
  return absl::StrFormat(", distance %.1e", tolerance.parameter_distance);
}

std::string Heading(const ModeComparison& comparison) {
  const RunSettings& settings = comparison.preset.settings;
  return absl::StrFormat(
      "preset %s: %s parameters, %d records of at most %d tokens, %g examples a step in "
      "micro-batches of %d,\n%d steps of SGD at rate %g, clip norm %.4g, sigma %g, seed %d, %d "
      "rank%s, %s\n",
      comparison.preset.name, absl::StrCat(comparison.parameters), settings.records,
      settings.length, settings.batch, settings.micro_batch, settings.steps, settings.learning_rate,
      settings.clip_norm, settings.noise_multiplier, settings.seed, settings.world_size,
      settings.world_size == 1 ? "" : "s", v1::Strategy_Name(settings.strategy));
}

}  // namespace

std::string ReportText(const ModeComparison& comparison) {
  std::string text = Heading(comparison);
  absl::StrAppendFormat(&text,
                        "\n%-20s %10s %10s %7s  %17s  %17s\n%-20s %10s %10s %7s  %8s %8s  %8s "
                        "%8s  %8s\n",
                        "", "final", "mean grad", "clipped", "loss differs by", "norm differs by",
                        "mode", "loss", "norm", "at 1st", "ref.", "fp64", "ref.", "fp64",
                        "distance");
  absl::StrAppend(&text, OracleRow("fp64 oracle", comparison.clipped_oracle),
                  OracleRow("fp64, unclipped", comparison.unclipped_oracle));
  for (const ModeOutcome& outcome : comparison.outcomes) {
    absl::StrAppend(&text, Row(outcome, comparison.tolerance));
  }
  absl::StrAppendFormat(
      &text,
      "\n%s distance: of the last parameters from fp64's, over their norm.\nLimits: loss %.0e, "
      "gradient norm %.0e (absolute and relative; each matrix's too)%s.\n\n",
      ReferenceText(comparison), comparison.tolerance.loss, comparison.tolerance.gradient_norm,
      DistanceLimitText(comparison.tolerance));
  absl::StrAppend(&text, ConsistencyText(ConsistencyOf(comparison)));
  if (comparison.epsilon > 0) {
    absl::StrAppendFormat(
        &text,
        "epsilon %.2f at delta %g: what these %d steps (sampling rate %g, sigma %g) cost a job "
        "whose seed is secret\n\n",
        comparison.epsilon, comparison.preset.delta, comparison.preset.settings.steps,
        comparison.preset.settings.batch / comparison.preset.settings.records,
        comparison.preset.settings.noise_multiplier);
  }
  absl::StrAppend(&text, ClipWarning(comparison));
  for (const ModeOutcome& outcome : comparison.outcomes) {
    absl::StrAppend(&text, Blame(outcome, comparison.tolerance));
  }
  if (comparison.Agrees()) {
    absl::StrAppend(&text, "all ", comparison.outcomes.size(), " modes agree\n");
  } else {
    absl::StrAppend(&text, "DIFFERS: ", absl::StrJoin(comparison.Disagreeing(), ", "), "\n");
  }
  return text;
}

}  // namespace sotto::check
