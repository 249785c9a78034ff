#include "server/socket_folder.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "common/base/files.h"
#include "common/base/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sotto {
namespace {

using ::testing::Ne;

class SocketFolderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(state_dir_, MakeTempDir(::testing::TempDir() + "/state-"));
    folder_ = Claim();
  }
  void TearDown() override {
    RemoveSocketFolder(folder_);
    std::filesystem::remove_all(state_dir_);
  }

  std::string Claim() {
    const absl::StatusOr<SocketFolder> folder = ClaimSocketFolder(state_dir_);
    EXPECT_OK(folder);
    return folder.ok() ? folder->path : "";
  }

  std::string state_dir_;
  std::string folder_;
};

TEST_F(SocketFolderTest, IsOfMode0700AndShortEnoughForASocket) {
  struct stat status;
  ASSERT_EQ(stat(folder_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700);
  EXPECT_LT((folder_ + "/socket").size(), 108);
}

TEST_F(SocketFolderTest, IsTheSameInTheNextLife) { EXPECT_EQ(Claim(), folder_); }

TEST_F(SocketFolderTest, IsMadeAgainAfterTmpWasCleaned) {
  ASSERT_EQ(rmdir(folder_.c_str()), 0);
  EXPECT_EQ(Claim(), folder_);
  EXPECT_TRUE(std::filesystem::is_directory(folder_));
}

TEST_F(SocketFolderTest, OneThatOthersMayEnterIsNotUsed) {
  ASSERT_EQ(chmod(folder_.c_str(), 0755), 0);
  const std::string other = Claim();
  EXPECT_THAT(other, Ne(folder_));
  std::filesystem::remove(folder_);
  folder_ = other;
}

TEST_F(SocketFolderTest, ALinkInItsPlaceIsNotFollowed) {
  ASSERT_EQ(rmdir(folder_.c_str()), 0);
  ASSERT_EQ(symlink(state_dir_.c_str(), folder_.c_str()), 0);
  const std::string other = Claim();
  EXPECT_THAT(other, Ne(folder_));
  unlink(folder_.c_str());
  folder_ = other;
}

TEST_F(SocketFolderTest, RemovalKeepsTheNameForTheNextLife) {
  RemoveSocketFolder(folder_);
  EXPECT_FALSE(std::filesystem::exists(folder_));
  EXPECT_EQ(Claim(), folder_);
}

}  // namespace
}  // namespace sotto
