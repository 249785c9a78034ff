// Ranges of single values, shared by the rules.
#ifndef SOTTO_SERVER_PLANNING_VALUE_CHECKS_H_
#define SOTTO_SERVER_PLANNING_VALUE_CHECKS_H_

#include <cmath>
#include <cstdint>

namespace sotto::planning {

inline bool IsPositive(double value) { return value > 0 && std::isfinite(value); }
inline bool IsNonNegative(double value) { return value >= 0 && std::isfinite(value); }
// Norms are sums of float32 squares, in which elements below 1e-19 may be lost: a billion of them
// are 4e-15 long. Beside a clip norm in this range that is nothing (docs/privacy.md).
inline constexpr double kLeastClipNorm = 1e-12;
inline constexpr double kLargestClipNorm = 1e12;
inline bool IsClipNorm(double value) {
  return value >= kLeastClipNorm && value <= kLargestClipNorm;
}
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
#define SOTTO_REQUIRE_CLIP_NORM(rules, message, name, field)                      \
  (rules).Require(!(message).has_##name() || IsClipNorm((message).name()), field, \
                  "must be positive, in [1e-12, 1e12]", (message).name())

}  // namespace sotto::planning

#endif  // SOTTO_SERVER_PLANNING_VALUE_CHECKS_H_
