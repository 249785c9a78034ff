#include "bench/output_file.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sotto::bench {
namespace {

using ::testing::HasSubstr;

std::string Refusal(std::string path) { return OutputFile()(path); }

TEST(OutputFileTest, RefusesWhatCannotBeWrittenBeforeAnythingIsMeasured) {
  ASSERT_OK_AND_ASSIGN(const std::string folder, MakeTempDir(::testing::TempDir() + "/output-"));
  EXPECT_EQ(Refusal(absl::StrCat(folder, "/new.json")), "");
  EXPECT_EQ(Refusal("new-beside-the-caller.json"), "");
  ASSERT_OK(AtomicWriteFile(absl::StrCat(folder, "/old.json"), "{}"));
  EXPECT_EQ(Refusal(absl::StrCat(folder, "/old.json")), "");

  EXPECT_THAT(Refusal(folder), HasSubstr("it is a folder"));
  EXPECT_THAT(Refusal(absl::StrCat(folder, "/missing/new.json")),
              HasSubstr(absl::StrCat(folder, "/missing is not a folder")));
  EXPECT_THAT(Refusal(absl::StrCat(folder, "/old.json/new.json")),
              HasSubstr("/old.json is not a folder"));
}

}  // namespace
}  // namespace sotto::bench
