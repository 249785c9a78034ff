#include "server/ledger/registration.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "server/accounting/adjacency.h"
#include "server/accounting/charge.h"

namespace sotto::ledger {
namespace {

constexpr char kPrivacyUnit[] = "record";

bool IsName(absl::string_view name) {
  return !name.empty() && name.size() <= 63 && std::all_of(name.begin(), name.end(), [](char c) {
    return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '-';
  });
}

bool IsSha256(absl::string_view text) {
  return text.size() == 64 && std::all_of(text.begin(), text.end(), [](char c) {
           return absl::ascii_isdigit(c) || (c >= 'a' && c <= 'f');
         });
}

// What is wrong with the budget, if anything.
void CheckBudget(const v1::Budget& budget, std::vector<std::string>& violations) {
  const bool epsilon_ok = std::isfinite(budget.epsilon()) && budget.epsilon() > 0;
  const bool delta_ok = budget.delta() > 0 && budget.delta() < 1;
  if (!epsilon_ok) {
    violations.push_back(
        absl::StrCat("budget.epsilon must be finite and positive, but is ", budget.epsilon()));
  }
  if (!delta_ok) {
    violations.push_back(
        absl::StrCat("budget.delta must be between 0 and 1, but is ", budget.delta()));
  }
  if (epsilon_ok && delta_ok) {
    const std::vector<int64_t> units =
        accounting::CapacityOf(budget.epsilon(), budget.delta()).units;
    if (*std::max_element(units.begin(), units.end()) <= 0) {
      violations.push_back(absl::StrCat("budget.epsilon is too small to hold any charge at delta ",
                                        budget.delta(), ", but is ", budget.epsilon()));
    }
  }
  if (!accounting::IsAdjacency(budget.adjacency())) {
    violations.push_back(absl::StrCat("budget.adjacency must be one of ",
                                      absl::StrJoin(accounting::kAdjacencies, ", "), ", but is \"",
                                      budget.adjacency(), "\""));
  }
  if (budget.privacy_unit() != kPrivacyUnit) {
    violations.push_back(absl::StrCat("budget.privacy_unit must be \"", kPrivacyUnit,
                                      "\", but is \"", budget.privacy_unit(), "\""));
  }
}

}  // namespace

absl::StatusOr<v1::Dataset> CheckRegistration(v1::Dataset dataset) {
  std::vector<std::string> violations;
  if (!IsName(dataset.name())) {
    violations.push_back(
        absl::StrCat("name must be 1 to 63 of a-z, 0-9 and '-', but is '", dataset.name(), "'"));
  }
  if (dataset.path().empty() || dataset.path()[0] != '/') {
    violations.push_back(absl::StrCat("path must be absolute, but is '", dataset.path(), "'"));
  }
  if (!IsSha256(dataset.sha256())) {
    violations.push_back(
        absl::StrCat("sha256 must be 64 lower-case hex digits, but is '", dataset.sha256(), "'"));
  }
  if (dataset.max_records() < 1) {
    violations.push_back(
        absl::StrCat("max_records must be at least 1, but is ", dataset.max_records()));
  }
  dataset.clear_spent_epsilon();
  dataset.clear_reserved_epsilon();
  dataset.clear_left_epsilon();
  if (dataset.budgeted()) {
    v1::Budget& budget = *dataset.mutable_budget();
    if (budget.adjacency().empty()) {
      budget.set_adjacency(std::string(accounting::kAddOrRemoveOne));
    }
    if (budget.privacy_unit().empty()) budget.set_privacy_unit(kPrivacyUnit);
    CheckBudget(budget, violations);
  } else if (dataset.has_budget()) {
    violations.push_back("budget must be unset for data without a budget");
  }
  if (violations.empty()) return dataset;
  return absl::InvalidArgumentError(
      absl::StrCat("dataset '", dataset.name(), "': ", absl::StrJoin(violations, "; ")));
}

}  // namespace sotto::ledger
