#include "common/base/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sotto {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;

TEST(LogTest, WritesOneJsonObjectPerLine) {
  ::testing::internal::CaptureStderr();
  SOTTO_LOG(INFO) << "rank " << 3 << " said \"hi\"\nand left";
  EXPECT_THAT(
      ::testing::internal::GetCapturedStderr(),
      MatchesRegex(R"(\{"time":"[-0-9T:.]+Z","severity":"info","source":"log_test.cc:[0-9]+",)"
                   R"("message":"rank 3 said \\"hi\\"\\nand left"\}.)"));
}

TEST(LogTest, FieldsOfTheProcessAreInEveryLine) {
  SetLogFields({{"process", "worker"}, {"share", "100%v"}});
  ::testing::internal::CaptureStderr();
  SOTTO_LOG(WARNING) << "x";
  EXPECT_THAT(::testing::internal::GetCapturedStderr(),
              HasSubstr(R"("severity":"warning","process":"worker","share":"100%v","source")"));
  SetLogFields({});
}

TEST(LogTest, LinesBelowTheMinimumAreDropped) {
  SetMinLogSeverity(LogSeverity::kERROR);
  ::testing::internal::CaptureStderr();
  SOTTO_LOG(WARNING) << "x";
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), IsEmpty());
  SetMinLogSeverity(LogSeverity::kINFO);
}

TEST(LogTest, InvalidUtf8IsReplaced) {
  EXPECT_EQ(log_internal::EscapeJson("caf\xc3\xa9"), "caf\xc3\xa9");
  EXPECT_EQ(log_internal::EscapeJson("\xff\xc3\x01"), "\\ufffd\\ufffd\\u0001");
  EXPECT_EQ(log_internal::EscapeJson("\xed\xa0\x80"), "\\ufffd\\ufffd\\ufffd");
}

TEST(LogDeathTest, BrokenInvariantAbortsWithItsText) {
  const int value = 4;
  SOTTO_CHECK(value == 4) << "not evaluated";
  EXPECT_DEATH(SOTTO_CHECK(value == 5) << "value is " << value,
               "broken invariant: value == 5 value is 4");
  EXPECT_DEATH(SOTTO_CHECK_OK(absl::NotFoundError("gone")), "NOT_FOUND: gone");
}

}  // namespace
}  // namespace sotto
