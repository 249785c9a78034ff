#include "server/planning/rules.h"

#include <algorithm>

#include "absl/strings/match.h"

namespace sotto::planning {

bool Rules::Require(bool holds, absl::string_view field, absl::string_view rule,
                    const absl::AlphaNum& value) {
  if (!holds) Break(field, rule, value.Piece());
  return holds;
}

void Rules::Break(absl::string_view field, absl::string_view rule, absl::string_view value) {
  violations_.push_back({std::string(field), std::string(rule), std::string(value)});
}

void Rules::BreakModel(absl::string_view message) {
  const size_t space = message.find(' ');
  if (absl::StartsWith(message, "model.adaptation") && space != absl::string_view::npos) {
    return Break(message.substr(0, space), message.substr(space + 1), "");
  }
  Break("model", absl::StrCat("makes no model: ", message), "");
}

bool Rules::IsBroken(absl::string_view field) const {
  return std::any_of(violations_.begin(), violations_.end(), [&](const spec::Violation& violation) {
    return violation.field == field ||
           absl::StartsWith(violation.field, absl::StrCat(field, ".")) ||
           absl::StartsWith(violation.field, absl::StrCat(field, "["));
  });
}

absl::Status Rules::Check() const {
  return violations_.empty() ? absl::OkStatus() : spec::ViolationsError(violations_);
}

}  // namespace sotto::planning
