// A comparison of modes for people.
#ifndef SOTTO_TOOLS_CHECK_MODE_REPORT_H_
#define SOTTO_TOOLS_CHECK_MODE_REPORT_H_

#include <string>

#include "tools/check/mode_comparison.h"

namespace sotto::check {

// What is compared, a row for each mode, the consistency over all of them and the verdict.
std::string ReportText(const ModeComparison& comparison);

}  // namespace sotto::check

#endif  // SOTTO_TOOLS_CHECK_MODE_REPORT_H_
