#include "tools/check/mode_report.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace sotto::check {
namespace {

using nlohmann::json;

json SpreadJson(const Spread& spread) {
  return {{"mean", spread.mean},
          {"standard_deviation", spread.standard_deviation},
          {"largest", spread.largest}};
}

json DifferenceJson(const std::optional<Difference>& difference) {
  if (!difference.has_value()) return nullptr;
  return {
      {"loss", SpreadJson(difference->loss)},
      {"gradient_norm", SpreadJson(difference->gradient_norm)},
      {"largest_relative_gradient_norm", difference->largest_relative_gradient_norm},
      {"largest_layer_gradient_norm", difference->largest_layer_gradient_norm},
      {"largest_relative_layer_gradient_norm", difference->largest_relative_layer_gradient_norm},
      {"largest_relative_layer_weight_norm", difference->largest_layer_weight_norm},
      {"worst_layer", difference->worst_layer},
      {"worst_step", difference->worst_step}};
}

// Series by step, and the layers.
json RunJson(const RecordedRun& run) {
  json losses, norms, parameters, distances, fractions;
  for (const RecordedStep& step : run.steps) {
    losses.push_back(step.loss);
    norms.push_back(step.gradient_norm);
    parameters.push_back(step.parameter_norm);
    distances.push_back(step.parameter_distance);
    fractions.push_back(step.clip_fraction);
  }
  return {{"loss_values", losses},         {"final_loss", run.FinalLoss()},
          {"gradient_norms", norms},       {"average_gradient_norm", run.MeanGradientNorm()},
          {"parameter_norms", parameters}, {"parameter_distances_from_oracle", distances},
          {"clip_fractions", fractions},   {"layer_norms", ToJson(run)["layers"]}};
}

// Over the modes that compute the same as the reference or, without one, over those that clip.
struct Consistency {
  Spread final_loss;
  Spread gradient_norm;
  double loss_range = 0;
  double gradient_norm_range = 0;
};

bool HasReference(const ModeComparison& comparison) {
  return std::any_of(
      comparison.outcomes.begin(), comparison.outcomes.end(), [&](const ModeOutcome& outcome) {
        return outcome.status.ok() && outcome.mode.Label() == comparison.preset.reference;
      });
}

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

double RangeOf(const std::vector<double>& values) {
  if (values.empty()) return 0;
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  return *high - *low;
}

// Nothing where there are no such modes.
std::optional<Consistency> ConsistencyOf(const ModeComparison& comparison) {
  const bool has_reference = HasReference(comparison);
  std::vector<double> losses, norms;
  for (const ModeOutcome& outcome : comparison.outcomes) {
    const bool counts = has_reference ? outcome.mode.Label() == comparison.preset.reference ||
                                            outcome.from_reference.has_value()
                                      : outcome.clips;
    if (!outcome.status.ok() || !counts) continue;
    losses.push_back(outcome.run.FinalLoss());
    norms.push_back(outcome.run.MeanGradientNorm());
  }
  if (losses.empty()) return std::nullopt;
  return Consistency{SpreadOf(losses), SpreadOf(norms), RangeOf(losses), RangeOf(norms)};
}

json ConsistencyJson(const std::optional<Consistency>& consistency) {
  if (!consistency.has_value()) return nullptr;
  return {{"final_loss", SpreadJson(consistency->final_loss)},
          {"final_loss_range", consistency->loss_range},
          {"average_gradient_norm", SpreadJson(consistency->gradient_norm)},
          {"average_gradient_norm_range", consistency->gradient_norm_range}};
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

json MetricsJson(const ModeOutcome& outcome) {
  json row = RunJson(outcome.run);
  row["mode"] = outcome.mode.name;
  row["deferred_norms"] = outcome.mode.deferred_norms;
  row["world_size"] = outcome.mode.world_size;
  row["clips"] = outcome.clips;
  if (!outcome.status.ok()) row["error"] = std::string(outcome.status.message());
  return row;
}

json ReportJson(const ModeComparison& comparison) {
  const RunSettings& settings = comparison.preset.settings;
  json report = {{"command", "modes"},
                 {"preset", comparison.preset.name},
                 {"model", settings.model.ShortDebugString()},
                 {"parameters", comparison.parameters},
                 {"settings",
                  {{"length", settings.length},
                   {"records", settings.records},
                   {"batch", settings.batch},
                   {"micro_batch", settings.micro_batch},
                   {"steps", settings.steps},
                   {"learning_rate", settings.learning_rate},
                   {"clip_norm", settings.clip_norm},
                   {"noise_multiplier", settings.noise_multiplier},
                   {"seed", settings.seed},
                   {"world_size", settings.world_size},
                   {"strategy", v1::Strategy_Name(settings.strategy)}}},
                 {"tolerance",
                  {{"loss", comparison.tolerance.loss},
                   {"gradient_norm", comparison.tolerance.gradient_norm},
                   {"parameter_distance", comparison.tolerance.parameter_distance}}},
                 {"reference", comparison.preset.reference},
                 {"agrees", comparison.Agrees()}};
  if (comparison.clipped_oracle) report["oracle"]["clipped"] = RunJson(*comparison.clipped_oracle);
  if (comparison.unclipped_oracle) {
    report["oracle"]["unclipped"] = RunJson(*comparison.unclipped_oracle);
  }
  for (const ModeOutcome& outcome : comparison.outcomes) {
    json row = MetricsJson(outcome);
    row["agrees"] = outcome.Agrees(comparison.tolerance);
    row["difference_from_reference"] = DifferenceJson(outcome.from_reference);
    row["difference_from_oracle"] = DifferenceJson(outcome.from_oracle);
    report["modes"].push_back(std::move(row));
  }
  if (comparison.epsilon > 0) {
    report["epsilon"] = comparison.epsilon;
    report["delta"] = comparison.preset.delta;
  }
  report["consistency"] = ConsistencyJson(ConsistencyOf(comparison));
  return report;
}

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
