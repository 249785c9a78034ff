#include "common/base/scratch_folder.h"

#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status_matchers.h"
#include "gtest/gtest.h"

namespace sotto {
namespace {

class ScratchFolderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    // The child of a death test starts this program again.
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    root_ = absl::StrCat(::testing::TempDir(), "/scratch_folder_test");
    std::filesystem::create_directories(root_);
  }

  std::string root_;
};

// With a file, and a folder in it.
std::unique_ptr<ScratchFolder> MakeFull(const std::string& root) {
  std::unique_ptr<ScratchFolder> folder = *ScratchFolder::Create(absl::StrCat(root, "/s-"));
  std::filesystem::create_directories(folder->path() + "/a/b");
  const absl::Status written = AtomicWriteFile(folder->path() + "/a/b/file", "text");
  return written.ok() ? std::move(folder) : nullptr;
}

TEST_F(ScratchFolderTest, LivesAsLongAsItsObject) {
  std::unique_ptr<ScratchFolder> folder = MakeFull(root_);
  ASSERT_NE(folder, nullptr);
  const std::string path = folder->path();
  EXPECT_TRUE(std::filesystem::exists(path + "/a/b/file"));
  folder.reset();
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(ScratchFolderTest, GoesWhenASignalEndsTheProcess) {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    EXPECT_EXIT(
        {
          if (!RemoveScratchFoldersOnSignals().ok()) std::exit(1);
          const std::unique_ptr<ScratchFolder> one = MakeFull(root_);
          const std::unique_ptr<ScratchFolder> two = MakeFull(root_);
          if (one == nullptr || two == nullptr) std::exit(2);
          kill(getpid(), signal);
          while (true) pause();
        },
        ::testing::KilledBySignal(signal), "");
    EXPECT_TRUE(std::filesystem::is_empty(root_)) << signal;
  }
}

TEST_F(ScratchFolderTest, IgnoredSignalsStayIgnored) {
  EXPECT_EXIT(
      {
        signal(SIGHUP, SIG_IGN);
        if (!RemoveScratchFoldersOnSignals().ok()) std::exit(1);
        const std::unique_ptr<ScratchFolder> folder = MakeFull(root_);
        raise(SIGHUP);
        struct sigaction now = {};
        sigaction(SIGHUP, nullptr, &now);
        const bool is_there = std::filesystem::exists(folder->path() + "/a/b/file");
        std::filesystem::remove_all(folder->path());
        std::exit(is_there && now.sa_handler == SIG_IGN ? 0 : 2);
      },
      ::testing::ExitedWithCode(0), "");
}

TEST_F(ScratchFolderTest, SaysWhyThereIsNone) {
  EXPECT_FALSE(ScratchFolder::Create(root_ + "/missing/s-").ok());
}

}  // namespace
}  // namespace sotto
