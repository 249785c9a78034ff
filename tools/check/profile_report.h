// Profiles of modes for people and for programs.
#ifndef SOTTO_TOOLS_CHECK_PROFILE_REPORT_H_
#define SOTTO_TOOLS_CHECK_PROFILE_REPORT_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "nlohmann/json.hpp"
#include "tools/check/mode_profile.h"

namespace sotto::check {

nlohmann::json ProfileJson(const ProfileOptions& options, const std::vector<ModeProfile>& profiles);

// Milliseconds of a step and bytes of tensors by phase, bytes by use, and deferred norms against
// immediate ones.
std::string ProfileText(const ProfileOptions& options, const std::vector<ModeProfile>& profiles);

// Stacked bars of the phases into a PNG. Errors are gnuplot's.
absl::Status WriteProfilePlot(const std::vector<ModeProfile>& profiles, const std::string& path);

}  // namespace sotto::check

#endif  // SOTTO_TOOLS_CHECK_PROFILE_REPORT_H_
