#include "worker/exit_file.h"

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status_matchers.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace sotto {
namespace {

TEST(ExitFileTest, HoldsIdentityAndOutcome) {
  ASSERT_OK_AND_ASSIGN(const std::string directory,
                       MakeTempDir(absl::StrCat(::testing::TempDir(), "/sotto-")));
  v1::Finished finished;
  finished.set_outcome(v1::Finished::FAILED);
  finished.set_reason(v1::INVALID_DATA);
  finished.set_message("a \"quoted\" rule");
  finished.set_started_steps(7);
  ASSERT_OK(WriteExitFile(directory, {.job = "job-3", .attempt = 2, .rank = 1}, finished));
  ASSERT_OK_AND_ASSIGN(const std::string text, ReadFile(directory + "/exit-1.json"));
  const nlohmann::json record = nlohmann::json::parse(text);
  EXPECT_EQ(record["job"], "job-3");
  EXPECT_EQ(record["attempt"], 2);
  EXPECT_EQ(record["rank"], 1);
  EXPECT_EQ(record["outcome"], "FAILED");
  EXPECT_EQ(record["reason"], "INVALID_DATA");
  EXPECT_EQ(record["message"], "a \"quoted\" rule");
  EXPECT_EQ(record["started_steps"], "7");  // Protobuf's JSON writes 64-bit integers as strings.
  EXPECT_EQ(record["completed_steps"], "0");
}

}  // namespace
}  // namespace sotto
