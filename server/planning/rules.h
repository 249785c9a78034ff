// Collects every broken rule of a spec.
#ifndef SOTTO_SERVER_PLANNING_RULES_H_
#define SOTTO_SERVER_PLANNING_RULES_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/spec/violation.h"

namespace sotto::planning {

class Rules {
 public:
  // Records the violation when `holds` is false; gives `holds`.
  bool Require(bool holds, absl::string_view field, absl::string_view rule,
               const absl::AlphaNum& value);
  void Break(absl::string_view field, absl::string_view rule, absl::string_view value);

  // A model that cannot be described. Where the message begins with a path below
  // model.adaptation, that is the field.
  void BreakModel(absl::string_view message);

  // Is a rule of this field, or of one inside it, broken?
  bool IsBroken(absl::string_view field) const;

  // INVALID_ARGUMENT with all of them (spec::ViolationsOf), or OK.
  absl::Status Check() const;

 private:
  std::vector<spec::Violation> violations_;
};

}  // namespace sotto::planning

#endif  // SOTTO_SERVER_PLANNING_RULES_H_
