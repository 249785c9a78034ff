#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

#include "common/base/status_macros.h"
#include "common/base/status_matchers.h"

namespace sotto {
namespace {

using ::testing::Gt;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Pointee;

absl::StatusOr<std::unique_ptr<int>> Positive(int value) {
  if (value <= 0) return absl::InvalidArgumentError("value must be positive");
  return std::make_unique<int>(value);
}

absl::StatusOr<int> Sum(int a, int b) {
  ASSIGN_OR_RETURN(std::unique_ptr<int> first, Positive(a));
  ASSIGN_OR_RETURN(auto second, Positive(b));
  return *first + *second;
}

absl::Status CheckSum(int a, int b) {
  RETURN_IF_ERROR(Sum(a, b).status());
  return absl::OkStatus();
}

TEST(StatusMacrosTest, ValuesPassAndErrorsReturn) {
  EXPECT_THAT(Sum(1, 2), IsOkAndHolds(3));
  EXPECT_THAT(Sum(1, -2), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("positive")));
  EXPECT_OK(CheckSum(1, 2));
  EXPECT_THAT(CheckSum(0, 2), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(StatusMatchersTest, MatchOnlyWhatTheyName) {
  EXPECT_THAT(Sum(1, 2), Not(IsOkAndHolds(4)));
  EXPECT_THAT(Sum(0, 2), Not(IsOk()));
  EXPECT_THAT(Sum(0, 2), Not(IsOkAndHolds(Gt(0))));
  EXPECT_THAT(Sum(0, 2), Not(StatusIs(absl::StatusCode::kNotFound)));
  EXPECT_THAT(Sum(0, 2), Not(StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("negative"))));
  EXPECT_THAT(Positive(3), IsOkAndHolds(Pointee(3)));
}

TEST(StatusMatchersTest, AssertAssigns) {
  ASSERT_OK_AND_ASSIGN(std::unique_ptr<int> value, Positive(5));
  EXPECT_EQ(*value, 5);
}

}  // namespace
}  // namespace sotto
