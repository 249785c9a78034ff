// A comparison of modes for people and for programs.
#ifndef SOTTO_TOOLS_CHECK_MODE_REPORT_H_
#define SOTTO_TOOLS_CHECK_MODE_REPORT_H_

#include <string>

#include "nlohmann/json.hpp"
#include "tools/check/mode_comparison.h"

namespace sotto::check {

// Everything: settings, every step of every mode and of the oracles, layers, differences, verdict.
nlohmann::json ReportJson(const ModeComparison& comparison);

// One mode's own record.
nlohmann::json MetricsJson(const ModeOutcome& outcome);

// What is compared, a row for each mode, the consistency over all of them and the verdict.
std::string ReportText(const ModeComparison& comparison);

}  // namespace sotto::check

#endif  // SOTTO_TOOLS_CHECK_MODE_REPORT_H_
