#include "tools/check/mode_consistency.h"

#include <algorithm>
#include <vector>

namespace sotto::check {
namespace {

double RangeOf(const std::vector<double>& values) {
  if (values.empty()) return 0;
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  return *high - *low;
}

}  // namespace

bool HasReference(const ModeComparison& comparison) {
  return std::any_of(
      comparison.outcomes.begin(), comparison.outcomes.end(), [&](const ModeOutcome& outcome) {
        return outcome.status.ok() && outcome.mode.Label() == comparison.preset.reference;
      });
}

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

}  // namespace sotto::check
