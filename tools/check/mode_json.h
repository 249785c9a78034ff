// A comparison of modes for programs.
#ifndef SOTTO_TOOLS_CHECK_MODE_JSON_H_
#define SOTTO_TOOLS_CHECK_MODE_JSON_H_

#include "nlohmann/json.hpp"
#include "tools/check/mode_comparison.h"

namespace sotto::check {

// Everything: settings, every step of every mode and of the oracles, layers, differences, verdict.
nlohmann::json ReportJson(const ModeComparison& comparison);

// One mode's own record.
nlohmann::json MetricsJson(const ModeOutcome& outcome);

}  // namespace sotto::check

#endif  // SOTTO_TOOLS_CHECK_MODE_JSON_H_
