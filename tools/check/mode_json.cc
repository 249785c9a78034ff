#include "tools/check/mode_json.h"

#include <optional>
#include <string>
#include <utility>

#include "tools/check/mode_consistency.h"

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

// Only fp64's runs say how far from theirs the parameters end.
json OracleDifferenceJson(const std::optional<Difference>& difference) {
  json values = DifferenceJson(difference);
  if (difference.has_value()) values["parameter_distance"] = difference->parameter_distance;
  return values;
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

json ConsistencyJson(const std::optional<Consistency>& consistency) {
  if (!consistency.has_value()) return nullptr;
  return {{"final_loss", SpreadJson(consistency->final_loss)},
          {"final_loss_range", consistency->loss_range},
          {"average_gradient_norm", SpreadJson(consistency->gradient_norm)},
          {"average_gradient_norm_range", consistency->gradient_norm_range}};
}

json SettingsJson(const RunSettings& settings) {
  return {{"length", settings.length},
          {"records", settings.records},
          {"batch", settings.batch},
          {"micro_batch", settings.micro_batch},
          {"steps", settings.steps},
          {"learning_rate", settings.learning_rate},
          {"clip_norm", settings.clip_norm},
          {"noise_multiplier", settings.noise_multiplier},
          {"seed", settings.seed},
          {"world_size", settings.world_size},
          {"strategy", v1::Strategy_Name(settings.strategy)}};
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
                 {"settings", SettingsJson(settings)},
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
    row["difference_from_oracle"] = OracleDifferenceJson(outcome.from_oracle);
    report["modes"].push_back(std::move(row));
  }
  if (comparison.epsilon > 0) {
    report["epsilon"] = comparison.epsilon;
    report["delta"] = comparison.preset.delta;
  }
  report["consistency"] = ConsistencyJson(ConsistencyOf(comparison));
  return report;
}

}  // namespace sotto::check
