#include "common/base/executable.h"

#include <filesystem>

#include "gtest/gtest.h"

namespace sotto {
namespace {

TEST(BesideThisExecutableTest, NamesAFileInTheExecutablesFolder) {
  const std::filesystem::path self = std::filesystem::canonical("/proc/self/exe");
  EXPECT_EQ(BesideThisExecutable(self.filename().string()), self.string());
  EXPECT_EQ(BesideThisExecutable("other"), (self.parent_path() / "other").string());
}

}  // namespace
}  // namespace sotto
