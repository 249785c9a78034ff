// What sotto-check equality found, for people and programs.
#ifndef SOTTO_TOOLS_CHECK_EQUALITY_REPORT_H_
#define SOTTO_TOOLS_CHECK_EQUALITY_REPORT_H_

#include <string>

#include "nlohmann/json.hpp"
#include "tools/check/equality_check.h"

namespace sotto::check {

// Tables of the same and of distinct records, memory, padding by unit, and the verdict.
std::string EqualityText(const EqualityReport& report);

nlohmann::json EqualityJson(const EqualityReport& report);

}  // namespace sotto::check

#endif  // SOTTO_TOOLS_CHECK_EQUALITY_REPORT_H_
