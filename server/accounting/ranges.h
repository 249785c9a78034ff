// Range checks of the accounting functions: all broken rules in one message.
#ifndef SOTTO_SERVER_ACCOUNTING_RANGES_H_
#define SOTTO_SERVER_ACCOUNTING_RANGES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace sotto::accounting {

// Collects "<name> must be ..., but is <value>". NaN breaks every rule.
class Ranges {
 public:
  Ranges& Positive(absl::string_view name, double value);             // finite too
  Ranges& Probability(absl::string_view name, double value);          // in (0, 1)
  Ranges& SamplingRate(absl::string_view name, double value);         // in (0, 1]
  Ranges& NonNegativeBelowOne(absl::string_view name, double value);  // in [0, 1)
  Ranges& AtLeastOne(absl::string_view name, int64_t value);

  // INVALID_ARGUMENT with every broken rule, or OK.
  absl::Status Check() const;

 private:
  Ranges& Require(bool holds, absl::string_view name, absl::string_view rule, double value);

  std::vector<std::string> broken_;
};

}  // namespace sotto::accounting

#endif  // SOTTO_SERVER_ACCOUNTING_RANGES_H_
