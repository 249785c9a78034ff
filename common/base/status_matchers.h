// GoogleMock matchers for absl::Status and absl::StatusOr, named as in newer Abseil. In namespace
// sotto, not sotto::testing, which would hide ::testing.
#ifndef SOTTO_COMMON_BASE_STATUS_MATCHERS_H_
#define SOTTO_COMMON_BASE_STATUS_MATCHERS_H_

#include <ostream>
#include <string>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/status_macros.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sotto {
namespace status_matchers_internal {

inline const absl::Status& GetStatus(const absl::Status& status) { return status; }
template <typename T>
const absl::Status& GetStatus(const absl::StatusOr<T>& result) {
  return result.status();
}

}  // namespace status_matchers_internal

// Matches an OK Status or StatusOr.
MATCHER(IsOk, negation ? "is not OK" : "is OK") {
  const absl::Status& status = status_matchers_internal::GetStatus(arg);
  *result_listener << "whose status is " << status.ToString();
  return status.ok();
}

// Matches a StatusOr that holds a value matching `value_matcher`.
MATCHER_P(IsOkAndHolds, value_matcher, "is OK and holds a value that matches") {
  if (!arg.ok()) {
    *result_listener << "whose status is " << arg.status().ToString();
    return false;
  }
  using Value = typename std::decay_t<decltype(arg)>::value_type;
  return ::testing::ExplainMatchResult(::testing::SafeMatcherCast<const Value&>(value_matcher),
                                       *arg, result_listener);
}

// Matches a Status or StatusOr of this code.
MATCHER_P(StatusIs, code, "has status code " + absl::StatusCodeToString(code)) {
  const absl::Status& status = status_matchers_internal::GetStatus(arg);
  *result_listener << "whose status is " << status.ToString();
  return status.code() == code;
}

// Matches a Status or StatusOr of this code whose message matches `message_matcher` (a matcher or a
// string).
MATCHER_P2(StatusIs, code, message_matcher,
           "has status code " + absl::StatusCodeToString(code) + " and a message that matches") {
  const absl::Status& status = status_matchers_internal::GetStatus(arg);
  *result_listener << "whose status is " << status.ToString();
  if (status.code() != code) return false;
  return ::testing::ExplainMatchResult(
      ::testing::SafeMatcherCast<const std::string&>(message_matcher),
      std::string(status.message()), result_listener);
}

}  // namespace sotto

#define ASSERT_OK(expr) ASSERT_THAT(expr, ::sotto::IsOk())
#define EXPECT_OK(expr) EXPECT_THAT(expr, ::sotto::IsOk())

// Assigns the value of a StatusOr to `lhs` (which may declare a variable), or fails the test.
#define ASSERT_OK_AND_ASSIGN(lhs, ...) \
  SOTTO_ASSERT_OK_AND_ASSIGN_IMPL(SOTTO_STATUS_CONCAT(sotto_status_or_, __LINE__), lhs, __VA_ARGS__)
#define SOTTO_ASSERT_OK_AND_ASSIGN_IMPL(result, lhs, ...) \
  auto result = (__VA_ARGS__);                            \
  ASSERT_TRUE(result.ok()) << result.status();            \
  lhs = *std::move(result)

#endif  // SOTTO_COMMON_BASE_STATUS_MATCHERS_H_
