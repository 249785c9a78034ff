// Ranges of single values, shared by the rules.
#ifndef SOTTO_SERVER_PLANNING_VALUE_CHECKS_H_
#define SOTTO_SERVER_PLANNING_VALUE_CHECKS_H_

#include <cmath>
#include <cstdint>

namespace sotto::planning {

inline bool IsPositive(double value) { return value > 0 && std::isfinite(value); }
inline bool IsNonNegative(double value) { return value >= 0 && std::isfinite(value); }
inline bool IsWithin(int64_t value, int64_t low, int64_t high) {
  return value >= low && value <= high;
}

// An optional double field that must be positive when it is given.
#define SOTTO_REQUIRE_POSITIVE(rules, message, name, field)                       \
  (rules).Require(!(message).has_##name() || IsPositive((message).name()), field, \
                  "must be finite and positive", (message).name())
#define SOTTO_REQUIRE_NON_NEGATIVE(rules, message, name, field)                      \
  (rules).Require(!(message).has_##name() || IsNonNegative((message).name()), field, \
                  "must be finite and at least 0", (message).name())

}  // namespace sotto::planning

#endif  // SOTTO_SERVER_PLANNING_VALUE_CHECKS_H_
