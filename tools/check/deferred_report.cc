#include "tools/check/deferred_report.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace sotto::check {
namespace {

struct Line {
  const char* phase;
  const char* words;
};
constexpr Line kLines[] = {{"forward", "forward"},
                           {"first_backward", "first backward"},
                           {"norms", "norms"},
                           {"coefficients", "clip coefficients"},
                           {"second_backward", "second backward"},
                           {"weight_gradients", "weight gradients"},
                           {"fold", "fold"},
                           {"gather", "gather"},
                           {"reduce", "reduce"},
                           {"release", "release"},
                           {"update", "noise and optimizer"}};

double Ratio(double a, double b) { return b > 0 ? a / b : 0; }

}  // namespace

double Deferral::NormMillisecondsPerLayer() const {
  return 1e3 * Ratio(deferred->Seconds("norms"), static_cast<double>(deferred->Count("norms")));
}

// Fused norms are inside the first backward pass: the two belong together.
double Deferral::NormSpeedup() const {
  return Ratio(immediate->Seconds("norms") + immediate->Seconds("first_backward"),
               deferred->Seconds("norms") + deferred->Seconds("first_backward"));
}

double Deferral::StepSpeedup() const {
  return Ratio(immediate->step_seconds, deferred->step_seconds);
}

double Deferral::MemoryRatio() const {
  return Ratio(static_cast<double>(deferred->tensor_peak_bytes),
               static_cast<double>(immediate->tensor_peak_bytes));
}

std::vector<Deferral> FindDeferrals(const std::vector<ModeProfile>& profiles) {
  std::vector<Deferral> deferrals;
  for (const ModeProfile& deferred : profiles) {
    if (!deferred.mode.deferred_norms || !deferred.status.ok()) continue;
    for (const ModeProfile& immediate : profiles) {
      if (immediate.mode.deferred_norms || immediate.mode.name != deferred.mode.name) continue;
      if (immediate.status.ok()) deferrals.push_back({&deferred, &immediate});
    }
  }
  return deferrals;
}

std::string DeferralText(const Deferral& deferral) {
  std::string text = absl::StrFormat(
      "[deferred norms] %s: norms of %d layers a step, computed after the backward pass: %.2f ms\n"
      "[deferred norms] average per layer: %.3f ms\n"
      "%-20s %10s %10s\n",
      deferral.deferred->mode.name, deferral.deferred->Count("norms"),
      1e3 * deferral.deferred->Seconds("norms"), deferral.NormMillisecondsPerLayer(),
      "  milliseconds", "deferred", "immediate");
  for (const Line& line : kLines) {
    const double deferred = deferral.deferred->Seconds(line.phase);
    const double immediate = deferral.immediate->Seconds(line.phase);
    if (std::max(deferred, immediate) < 1e-6) continue;
    absl::StrAppendFormat(&text, "  %-18s %10.2f %10.2f\n", line.words, 1e3 * deferred,
                          1e3 * immediate);
  }
  absl::StrAppendFormat(&text, "  %-18s %10.2f %10.2f\n", "step",
                        1e3 * deferral.deferred->step_seconds,
                        1e3 * deferral.immediate->step_seconds);
  absl::StrAppendFormat(&text,
                        "  immediate over deferred: %.2f (first backward and norms), %.2f (step); "
                        "memory %+.1f%%\n",
                        deferral.NormSpeedup(), deferral.StepSpeedup(),
                        100 * (deferral.MemoryRatio() - 1));
  return text;
}

nlohmann::json DeferralJson(const Deferral& deferral) {
  return {{"mode", deferral.deferred->mode.name},
          {"layer_norms_per_step", deferral.deferred->Count("norms")},
          {"norm_seconds_per_step", deferral.deferred->Seconds("norms")},
          {"milliseconds_per_layer", deferral.NormMillisecondsPerLayer()},
          {"norm_speedup", deferral.NormSpeedup()},
          {"step_speedup", deferral.StepSpeedup()},
          {"memory_ratio", deferral.MemoryRatio()}};
}

}  // namespace sotto::check
