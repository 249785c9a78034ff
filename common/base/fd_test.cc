#include "common/base/fd.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/status_matchers.h"

namespace sotto {
namespace {

using ::testing::HasSubstr;

bool IsOpen(int fd) { return fcntl(fd, F_GETFD) != -1; }

TEST(UniqueFdTest, ClosesWhenItDies) {
  int fd = -1;
  {
    ASSERT_OK_AND_ASSIGN(UniqueFd owned, OpenFile("/dev/null", O_RDONLY));
    fd = owned.get();
    EXPECT_TRUE(IsOpen(fd));
  }
  EXPECT_FALSE(IsOpen(fd));
}

TEST(UniqueFdTest, MovingTransfersOwnership) {
  ASSERT_OK_AND_ASSIGN(UniqueFd first, OpenFile("/dev/null", O_RDONLY));
  const int fd = first.get();
  UniqueFd second = std::move(first);
  EXPECT_FALSE(first.is_valid());  // NOLINT: what is tested.
  EXPECT_EQ(second.get(), fd);
  second.Reset();
  EXPECT_FALSE(IsOpen(fd));
}

TEST(FdTest, DescriptorsDoNotReachSpawnedProcesses) {
  ASSERT_OK_AND_ASSIGN(UniqueFd file, OpenFile("/dev/null", O_RDONLY));
  ASSERT_OK_AND_ASSIGN(Pipe pipe, MakePipe());
  for (int fd : {file.get(), pipe.read_end.get(), pipe.write_end.get()}) {
    EXPECT_TRUE(fcntl(fd, F_GETFD) & FD_CLOEXEC);
  }
}

TEST(FdTest, PipeCarriesAllBytes) {
  ASSERT_OK_AND_ASSIGN(Pipe pipe, MakePipe());
  ASSERT_OK(WriteAll(pipe.write_end.get(), "hello"));
  pipe.write_end.Reset();
  EXPECT_THAT(ReadAll(pipe.read_end.get()), IsOkAndHolds("hello"));
}

TEST(FdTest, ErrorsNameThePath) {
  EXPECT_THAT(OpenFile("/no/such/file", O_RDONLY),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("/no/such/file")));
}

}  // namespace
}  // namespace sotto
