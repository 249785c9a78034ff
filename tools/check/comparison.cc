#include "tools/check/comparison.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace sotto::check {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Only zero is below it: gradients are as small as the clip norm makes them.
constexpr double kSmallestNorm = 1e-30;

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
         largest_relative_layer_gradient_norm <= tolerance.gradient_norm;
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
