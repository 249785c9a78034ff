// Ranges of single values, shared by the rules.
#ifndef SOTTO_SERVER_PLANNING_VALUE_CHECKS_H_
#define SOTTO_SERVER_PLANNING_VALUE_CHECKS_H_

#include <cmath>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "proto/sotto/v1/spec.pb.h"
#include "server/planning/rules.h"

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

// A step is below it: whatever is counted in steps may be compared and added.
inline constexpr int64_t kMaxSteps = int64_t{1} << 32;

// Numbers that a job may mean, as the rule says it. Beyond them float32 overflows or loses what is
// asked for, or the number is a slip of the keyboard.
struct Range {
  double low;
  double high;
  const char* text;

  bool Has(double value) const { return value >= low && value <= high; }
};

// Of models.
inline constexpr Range kInitStddev{1e-12, 100, "[1e-12, 100]"};
inline constexpr Range kNormEpsilon{1e-20, 1, "[1e-20, 1]"};  // float32 knows it beside 0

inline bool RequireIn(const Range& range, bool given, double value, absl::string_view field,
                      Rules& rules) {
  return rules.Require(!given || range.Has(value), field,
                       absl::StrCat("must be positive, in ", range.text), value);
}

inline void RequireEverySteps(const v1::StepDecay& step, absl::string_view field, Rules& rules) {
  rules.Require(IsWithin(step.every_steps(), 1, kMaxSteps), absl::StrCat(field, ".every_steps"),
                "must be given, 1 to 2^32",
                step.has_every_steps() ? absl::StrCat(step.every_steps()) : "");
}

// An optional double field that must be positive when it is given.
#define SOTTO_REQUIRE_POSITIVE(rules, message, name, field)                       \
  (rules).Require(!(message).has_##name() || IsPositive((message).name()), field, \
                  "must be finite and positive", (message).name())
#define SOTTO_REQUIRE_NON_NEGATIVE(rules, message, name, field)                      \
  (rules).Require(!(message).has_##name() || IsNonNegative((message).name()), field, \
                  "must be finite and at least 0", (message).name())
#define SOTTO_REQUIRE_IN(rules, message, name, range, field) \
  RequireIn(range, (message).has_##name(), (message).name(), field, rules)
#define SOTTO_REQUIRE_CLIP_NORM(rules, message, name, field)                      \
  (rules).Require(!(message).has_##name() || IsClipNorm((message).name()), field, \
                  "must be positive, in [1e-12, 1e12]", (message).name())

}  // namespace sotto::planning

#endif  // SOTTO_SERVER_PLANNING_VALUE_CHECKS_H_
