#include "common/base/output_file.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sotto {
namespace {

using ::testing::HasSubstr;

auto Refused(const std::string& why) {
  return StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(why));
}

TEST(OutputFileTest, RefusesBeforeTheWorkWhatCannotBeWrittenAfterIt) {
  ASSERT_OK_AND_ASSIGN(const std::string folder, MakeTempDir(::testing::TempDir() + "/output-"));
  EXPECT_OK(CheckOutputFile(absl::StrCat(folder, "/new.json")));
  EXPECT_OK(CheckOutputFile("new-beside-the-caller.json"));
  ASSERT_OK(AtomicWriteFile(absl::StrCat(folder, "/old.json"), "{}"));
  EXPECT_OK(CheckOutputFile(absl::StrCat(folder, "/old.json")));

  EXPECT_THAT(CheckOutputFile(""), Refused("it has no name"));
  EXPECT_THAT(CheckOutputFile(folder), Refused("it is a folder"));
  EXPECT_THAT(CheckOutputFile(absl::StrCat(folder, "/missing/new.json")),
              Refused(absl::StrCat(folder, "/missing is not a folder")));
  EXPECT_THAT(CheckOutputFile(absl::StrCat(folder, "/old.json/new.json")),
              Refused("/old.json is not a folder"));
}

}  // namespace
}  // namespace sotto
