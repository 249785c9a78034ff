#include "server/database/state_directory.h"

#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "common/base/files.h"
#include "common/base/status_matchers.h"

namespace sotto::database {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class StateDirectoryTest : public ::testing::Test {
 protected:
  StateDirectoryTest() : folder_(*MakeTempDir(::testing::TempDir() + "state-")) {}
  ~StateDirectoryTest() override {
    umount(folder_.c_str());  // Where a test mounted something.
    std::filesystem::remove_all(folder_);
  }

  const std::string folder_;
};

TEST_F(StateDirectoryTest, IsMadeWithItsParentsForTheOwnerOnly) {
  const std::string path = folder_ + "/a/b";
  ASSERT_OK(StateDirectory::Claim(path));
  struct stat info;
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700);
}

TEST_F(StateDirectoryTest, SecondClaimNamesTheAddressOfTheFirst) {
  ASSERT_OK_AND_ASSIGN(auto first, StateDirectory::Claim(folder_));
  EXPECT_THAT(StateDirectory::Claim(folder_),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("not published")));
  ASSERT_OK(first->PublishAddress("unix:/tmp/x/socket"));
  EXPECT_THAT(StateDirectory::Claim(folder_),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr("unix:/tmp/x/socket"), HasSubstr(folder_))));
}

TEST_F(StateDirectoryTest, IsFreeAfterwardsAndTheAddressIsGone) {
  ASSERT_OK_AND_ASSIGN(auto first, StateDirectory::Claim(folder_));
  ASSERT_OK(first->PublishAddress("unix:/tmp/x/socket"));
  first = nullptr;
  EXPECT_THAT(ReadFile(folder_ + "/address"), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_OK(StateDirectory::Claim(folder_));
}

TEST_F(StateDirectoryTest, ClaimRemovesTheAddressOfADeadCoordinator) {
  ASSERT_OK(AtomicWriteFile(folder_ + "/address", "unix:/tmp/dead/socket\n"));
  ASSERT_OK_AND_ASSIGN(auto directory, StateDirectory::Claim(folder_));
  EXPECT_THAT(ReadFile(folder_ + "/address"), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(StateDirectoryTest, FileInThePlaceOfTheFolderIsRefused) {
  ASSERT_OK(AtomicWriteFile(folder_ + "/file", "text"));
  EXPECT_THAT(StateDirectory::Claim(folder_ + "/file"),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("no directory")));
}

TEST_F(StateDirectoryTest, ReadOnlyFolderIsRefused) {
  if (mount(folder_.c_str(), folder_.c_str(), nullptr, MS_BIND, nullptr) != 0) {
    GTEST_SKIP() << "needs the right to mount";
  }
  ASSERT_EQ(mount(nullptr, folder_.c_str(), nullptr, MS_BIND | MS_REMOUNT | MS_RDONLY, nullptr), 0);
  const absl::Status claimed = StateDirectory::Claim(folder_).status();
  const absl::Status inside = StateDirectory::Claim(folder_ + "/new").status();
  ASSERT_EQ(umount(folder_.c_str()), 0);
  EXPECT_THAT(claimed, StatusIs(absl::StatusCode::kFailedPrecondition,
                                AllOf(HasSubstr("read-only"), HasSubstr(folder_))));
  EXPECT_THAT(inside, StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("read-only")));
}

}  // namespace
}  // namespace sotto::database
