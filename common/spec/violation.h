// Broken rules of a spec, all reported at once.
#ifndef SOTTO_COMMON_SPEC_VIOLATION_H_
#define SOTTO_COMMON_SPEC_VIOLATION_H_

#include <string>
#include <vector>

#include "absl/status/status.h"

namespace sotto::spec {

struct Violation {
  std::string field;  // path in the spec, e.g. "train.steps"; "" for the document itself
  std::string rule;   // "must be at least 1"
  std::string value;  // what was found; "" when nothing was
  int line = 0;       // in the spec's text, from 1; 0: unknown

  friend bool operator==(const Violation&, const Violation&) = default;
};

// One line: `line 3: train.steps must be at least 1, but is -2`.
std::string Describe(const Violation& violation);

// INVALID_ARGUMENT whose message has a line per violation and which carries them as a payload.
// `violations` is not empty.
absl::Status ViolationsError(const std::vector<Violation>& violations);

// The payload; empty for every other status.
std::vector<Violation> ViolationsOf(const absl::Status& status);

}  // namespace sotto::spec

#endif  // SOTTO_COMMON_SPEC_VIOLATION_H_
