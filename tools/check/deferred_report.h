// Deferred norms against immediate ones.
#ifndef SOTTO_TOOLS_CHECK_DEFERRED_REPORT_H_
#define SOTTO_TOOLS_CHECK_DEFERRED_REPORT_H_

#include <string>
#include <vector>

#include "nlohmann/json.hpp"
#include "tools/check/mode_profile.h"

namespace sotto::check {

// Both point into the profiles that were searched.
struct Deferral {
  const ModeProfile* deferred;
  const ModeProfile* immediate;  // the same mode

  double NormMillisecondsPerLayer() const;
  // Of the norms alone and of the whole step: above 1, deferral is faster.
  double NormSpeedup() const;
  double StepSpeedup() const;
  double MemoryRatio() const;  // deferred over immediate; of the tensors' peaks
};

// Every mode that was profiled both ways.
std::vector<Deferral> FindDeferrals(const std::vector<ModeProfile>& profiles);

// Layers, total and mean time, the phases of both, the ratios.
std::string DeferralText(const Deferral& deferral);
nlohmann::json DeferralJson(const Deferral& deferral);

}  // namespace sotto::check

#endif  // SOTTO_TOOLS_CHECK_DEFERRED_REPORT_H_
