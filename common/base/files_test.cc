#include "common/base/files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "common/base/status_matchers.h"

namespace sotto {
namespace {

using ::testing::HasSubstr;

class FilesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(folder_, MakeTempDir(::testing::TempDir() + "/files-"));
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  int CountEntries() const {
    return std::distance(std::filesystem::directory_iterator(folder_), {});
  }

  std::string folder_;
};

TEST_F(FilesTest, AtomicWriteReplacesTheWholeFile) {
  const std::string path = folder_ + "/file";
  ASSERT_OK(AtomicWriteFile(path, "a long first version"));
  ASSERT_OK(AtomicWriteFile(path, "second"));
  EXPECT_THAT(ReadFile(path), IsOkAndHolds("second"));
  EXPECT_EQ(CountEntries(), 1);
}

TEST_F(FilesTest, AtomicWriteSetsTheMode) {
  const std::string path = folder_ + "/file";
  ASSERT_OK(AtomicWriteFile(path, "x", 0640));
  struct stat info;
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0640);
}

TEST_F(FilesTest, FailedWriteLeavesNothingBehind) {
  std::filesystem::create_directory(folder_ + "/taken");
  EXPECT_THAT(AtomicWriteFile(folder_ + "/taken", "x"), testing::Not(IsOk()));
  EXPECT_EQ(CountEntries(), 1);
  EXPECT_THAT(AtomicWriteFile(folder_ + "/none/file", "x"),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("none/file")));
}

TEST_F(FilesTest, TemporaryFoldersArePrivateAndDistinct) {
  ASSERT_OK_AND_ASSIGN(std::string first, MakeTempDir(folder_ + "/t-"));
  ASSERT_OK_AND_ASSIGN(std::string second, MakeTempDir(folder_ + "/t-"));
  EXPECT_NE(first, second);
  struct stat info;
  ASSERT_EQ(stat(first.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700);
}

TEST_F(FilesTest, ReadingErrorsNameThePath) {
  EXPECT_THAT(ReadFile(folder_ + "/none"),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("none")));
  EXPECT_THAT(ReadFile(folder_), testing::Not(IsOk()));
}

TEST(FolderOfTest, SplitsAtTheLastSlash) {
  EXPECT_EQ(FolderOf("/a/b"), "/a");
  EXPECT_EQ(FolderOf("/a"), "/");
  EXPECT_EQ(FolderOf("a"), ".");
}

}  // namespace
}  // namespace sotto
