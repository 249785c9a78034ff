#include <sys/stat.h>

#include "absl/strings/str_cat.h"
#include "server/api/testing/api_fixture.h"

namespace sotto::api {
namespace {

using ::testing::HasSubstr;

class ListenTest : public ApiFixture {
 protected:
  // The status of a second server on these addresses.
  absl::Status StartOn(std::vector<std::string> listen) {
    Server::Options options = MakeOptions();
    options.listen = std::move(listen);
    return Server::Start(options).status();
  }
};

TEST_F(ListenTest, TheSocketIsForItsOwnerOnly) {
  struct stat file = {};
  ASSERT_EQ(stat((folder_ + "/socket").c_str(), &file), 0);
  EXPECT_TRUE(S_ISSOCK(file.st_mode));
  EXPECT_EQ(file.st_mode & 0777, 0600);
}

TEST_F(ListenTest, ATakenSocketIsAnErrorAndKeepsWorking) {
  EXPECT_THAT(StartOn({"unix:" + folder_ + "/socket"}),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("is taken")));
  grpc::ClientContext context;
  v1::GetServerInfoResponse info;
  EXPECT_TRUE(jobs_->GetServerInfo(&context, {}, &info).ok());
}

TEST_F(ListenTest, ATakenPortIsAnError) {
  const std::string taken = server_->addresses()[1];
  EXPECT_THAT(StartOn({taken}), StatusIs(absl::StatusCode::kUnavailable, HasSubstr(taken)));
  EXPECT_THAT(StartOn({"unix:" + folder_ + "/other", taken}),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr(taken)));
}

TEST_F(ListenTest, ASocketOfADeadServerIsReplaced) {
  server_ = nullptr;
  // What a killed server leaves: a socket file without a listener.
  const std::string path = folder_ + "/socket";
  {
    Server::Options options = MakeOptions();
    ASSERT_OK_AND_ASSIGN(auto first, Server::Start(options));
    ASSERT_EQ(link(path.c_str(), (folder_ + "/left").c_str()), 0);
  }
  ASSERT_EQ(rename((folder_ + "/left").c_str(), path.c_str()), 0);
  EXPECT_OK(StartOn({"unix:" + path}));
}

TEST_F(ListenTest, AFileThatIsNoSocketIsKept) {
  const std::string path = folder_ + "/file";
  ASSERT_OK(AtomicWriteFile(path, "precious"));
  EXPECT_THAT(StartOn({"unix:" + path}), StatusIs(absl::StatusCode::kAlreadyExists));
  EXPECT_THAT(ReadFile(path), IsOkAndHolds(std::string("precious")));
}

TEST_F(ListenTest, AddressesThatMakeNoSenseAreNamed) {
  for (const std::string address :
       {"unix:relative", "nonsense", "host:port", ":1", "127.0.0.1:70000"}) {
    EXPECT_THAT(StartOn({address}), StatusIs(absl::StatusCode::kInvalidArgument)) << address;
  }
  EXPECT_THAT(StartOn({"unix:/" + std::string(120, 'x')}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("characters")));
  EXPECT_THAT(StartOn({}), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_F(ListenTest, ServerInfoTellsVersionAndSlots) {
  grpc::ClientContext context;
  v1::GetServerInfoResponse info;
  ASSERT_TRUE(remote_jobs_->GetServerInfo(&context, {}, &info).ok());
  EXPECT_EQ(info.version(), "1.2.3");
  EXPECT_EQ(info.slots(), 4);
  EXPECT_EQ(info.slots_in_use(), 1);
  EXPECT_EQ(info.state_dir(), folder_);
}

TEST_F(ListenTest, DrainTwiceAndCallsAfterwardsFail) {
  server_->Drain(absl::Seconds(5));
  server_->Drain(absl::Seconds(5));
  grpc::ClientContext context;
  v1::GetServerInfoResponse info;
  EXPECT_EQ(jobs_->GetServerInfo(&context, {}, &info).error_code(), grpc::StatusCode::UNAVAILABLE);
}

}  // namespace
}  // namespace sotto::api
