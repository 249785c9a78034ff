#include "tools/check/comparison.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace sotto::check {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Only zero is below it: gradients are as small as the clip norm makes them.
constexpr double kSmallestNorm = 1e-30;

// Rounding to float changes a value by at most this part of it.
constexpr double kFloatRounding = 0x1p-24;

// Of what training moves the parameters by.
constexpr double kDistanceOfMoved = 1e-3;

// The fraction is a sum of reciprocals.
constexpr double kNearlyAll = 1 - 1e-9;

// NaN is larger than everything, and stays.
void KeepLarger(double value, double& largest) {
  if (!(value <= largest)) largest = value;
}

// Of one matrix at one step, against the norm of the whole gradient there.
void CompareLayer(const std::string& name, double gradient_norm, double with, double whole,
                  Difference& difference) {
  const double absolute = std::abs(gradient_norm - with);
  if (!(absolute <= difference.largest_layer_gradient_norm)) {
    difference.largest_layer_gradient_norm = absolute;
    difference.worst_layer = name;
  }
  KeepLarger(absolute / std::max(whole, kSmallestNorm),
             difference.largest_relative_layer_gradient_norm);
}

void CompareWeights(double norm, double with, Difference& difference) {
  KeepLarger(std::abs(norm - with) / std::max(with, kSmallestNorm),
             difference.largest_layer_weight_norm);
}

}  // namespace

Spread SpreadOf(const std::vector<double>& values) {
  Spread spread;
  for (double value : values) spread.mean += value / static_cast<double>(values.size());
  double variance = 0;
  for (double value : values) {
    variance += (value - spread.mean) * (value - spread.mean) / static_cast<double>(values.size());
    KeepLarger(std::abs(value), spread.largest);
  }
  spread.standard_deviation = std::sqrt(variance);
  return spread;
}

bool Difference::IsWithin(const Tolerance& tolerance) const {
  return loss.largest <= tolerance.loss && gradient_norm.largest <= tolerance.gradient_norm &&
         largest_relative_gradient_norm <= tolerance.gradient_norm &&
         largest_layer_gradient_norm <= tolerance.gradient_norm &&
         largest_relative_layer_gradient_norm <= tolerance.gradient_norm &&
         parameter_distance <= tolerance.parameter_distance;
}

double RelativeDistance(const RecordedRun& run) {
  if (run.steps.empty()) return kInfinity;
  const RecordedStep& last = run.steps.back();
  return last.parameter_distance / std::max(last.parameter_norm, kSmallestNorm);
}

double DistanceLimit(const RunSettings& settings, int64_t parameters, const RecordedRun& oracle) {
  if (settings.noise_multiplier == 0 || settings.uses_adamw || oracle.steps.empty()) {
    return kInfinity;
  }
  const double steps = static_cast<double>(oracle.steps.size());
  const double noise_of_element = settings.learning_rate * settings.noise_multiplier *
                                  settings.clip_norm / (settings.batch * settings.copies);
  double moved = noise_of_element * std::sqrt(steps * static_cast<double>(parameters));
  for (const RecordedStep& step : oracle.steps) {
    moved += settings.learning_rate * step.gradient_norm;
  }
  const double norm = std::max(oracle.steps.back().parameter_norm, kSmallestNorm);
  return (steps + 1) * kFloatRounding + kDistanceOfMoved * moved / norm;
}

bool HasGradient(const RecordedRun& run) {
  return std::any_of(run.steps.begin(), run.steps.end(),
                     [](const RecordedStep& step) { return step.gradient_norm != 0; });
}

bool ClipsNothing(const RecordedRun& run) {
  bool draws = false;
  for (const RecordedStep& step : run.steps) {
    if (step.batch_size == 0) continue;
    draws = true;
    if (step.clip_fraction > 0) return false;
  }
  return draws;
}

bool ClipsEverything(const RecordedRun& run) {
  bool draws = false;
  for (const RecordedStep& step : run.steps) {
    if (step.batch_size == 0) continue;
    draws = true;
    if (step.clip_fraction < kNearlyAll) return false;
  }
  return draws;
}

Difference Compare(const RecordedRun& run, const RecordedRun& with) {
  if (run.steps.size() != with.steps.size() || run.layers.size() != with.layers.size()) {
    return {.loss = {.largest = kInfinity}, .gradient_norm = {.largest = kInfinity}};
  }
  Difference difference;
  std::vector<double> losses, norms;
  double worst = 0;
  for (size_t i = 0; i < run.steps.size(); ++i) {
    losses.push_back(run.steps[i].loss - with.steps[i].loss);
    norms.push_back(run.steps[i].gradient_norm - with.steps[i].gradient_norm);
    KeepLarger(std::abs(norms.back()) / std::max(with.steps[i].gradient_norm, kSmallestNorm),
               difference.largest_relative_gradient_norm);
    if (!(std::abs(norms.back()) <= worst)) {
      worst = std::abs(norms.back());
      difference.worst_step = static_cast<int64_t>(i);
    }
  }
  difference.loss = SpreadOf(losses);
  difference.gradient_norm = SpreadOf(norms);
  for (size_t i = 0; i < run.layers.size(); ++i) {
    const RecordedLayer& own = run.layers[i];
    const RecordedLayer& other = with.layers[i];
    CompareLayer(own.name, own.first_gradient_norm, other.first_gradient_norm,
                 with.steps.front().gradient_norm, difference);
    CompareLayer(own.name, own.last_gradient_norm, other.last_gradient_norm,
                 with.steps.back().gradient_norm, difference);
    CompareWeights(own.first_weight_norm, other.first_weight_norm, difference);
    CompareWeights(own.last_weight_norm, other.last_weight_norm, difference);
  }
  return difference;
}

bool ModeOutcome::Agrees(const Tolerance& tolerance) const {
  return status.ok() && (!from_reference.has_value() || from_reference->IsWithin(tolerance)) &&
         (!from_oracle.has_value() || from_oracle->IsWithin(tolerance));
}

}  // namespace sotto::check
