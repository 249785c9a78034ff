#include <filesystem>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "gmock/gmock.h"
#include "server/api/testing/api_fixture.h"

namespace sotto::api {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;

class LogStreamTest : public ApiFixture {
 protected:
  void SetUp() override {
    ApiFixture::SetUp();
    v1::Job job;
    job.set_id("job-1");
    job.set_attempt(2);
    reader_.PutJob(job);
  }
  void WriteLog(int attempt, int rank, const std::string& text) {
    const std::string folder = absl::StrCat(folder_, "/jobs/job-1/attempt-", attempt);
    std::filesystem::create_directories(folder);
    ASSERT_OK(AtomicWriteFile(absl::StrCat(folder, "/rank-", rank, ".log"), text));
  }
  static v1::GetLogsRequest MakeRequest() {
    v1::GetLogsRequest request;
    request.set_id("job-1");
    request.set_rank(-1);
    request.set_steward(true);
    return request;
  }
  struct Logs {
    std::vector<v1::GetLogsResponse> messages;
    grpc::Status status;
    std::string text() const {
      std::string all;
      for (const auto& message : messages) all += message.text();
      return all;
    }
  };
  static Logs Get(v1::JobService::Stub& stub, const v1::GetLogsRequest& request) {
    grpc::ClientContext context;
    auto stream = stub.GetLogs(&context, request);
    Logs logs;
    v1::GetLogsResponse message;
    while (stream->Read(&message)) logs.messages.push_back(message);
    logs.status = stream->Finish();
    return logs;
  }
};

TEST_F(LogStreamTest, TheLatestAttemptOfAllRanksComesInOrder) {
  WriteLog(1, 0, "old\n");
  WriteLog(2, 0, "zero\n");
  WriteLog(2, 1, "one\nunfinished");
  const Logs logs = Get(*jobs_, MakeRequest());
  ASSERT_TRUE(logs.status.ok()) << logs.status.error_message();
  EXPECT_EQ(logs.text(), "zero\none\nunfinished");
  EXPECT_EQ(logs.messages.front().attempt(), 2);
  EXPECT_EQ(logs.messages.front().rank(), 0);
  EXPECT_EQ(logs.messages.back().rank(), 1);
  EXPECT_THAT(scheduler_.views(), ElementsAre("job-1 logs"));
}

TEST_F(LogStreamTest, OneRankOfAnEarlierAttempt) {
  WriteLog(1, 0, "zero\n");
  WriteLog(1, 1, "one\n");
  v1::GetLogsRequest request = MakeRequest();
  request.set_attempt(1);
  request.set_rank(1);
  EXPECT_EQ(Get(*jobs_, request).text(), "one\n");
}

TEST_F(LogStreamTest, LongLogsComeInWholeLines) {
  std::string text;
  for (int line = 0; line < 20000; ++line) absl::StrAppend(&text, "line ", line, "\n");
  text += std::string(200000, 'x') + "\nend\n";
  WriteLog(2, 0, text);
  const Logs logs = Get(*jobs_, MakeRequest());
  EXPECT_EQ(logs.text(), text);
  EXPECT_GT(logs.messages.size(), 3);
  EXPECT_THAT(logs.messages.front().text(), EndsWith("\n"));
  for (const auto& message : logs.messages) EXPECT_LE(message.text().size(), 64 << 10);
}

TEST_F(LogStreamTest, AnEmptyLogIsEmptyAndAMissingOneNotFound) {
  WriteLog(2, 0, "");
  const Logs empty = Get(*jobs_, MakeRequest());
  EXPECT_TRUE(empty.status.ok());
  EXPECT_EQ(empty.text(), "");
  v1::GetLogsRequest request = MakeRequest();
  request.set_rank(7);
  EXPECT_EQ(Get(*jobs_, request).status.error_code(), grpc::StatusCode::NOT_FOUND);
  request.set_id("job-2");
  EXPECT_EQ(Get(*jobs_, request).status.error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(LogStreamTest, LogsNeedTheStewardsFlagAndTheLocalSocket) {
  WriteLog(2, 0, "secret\n");
  v1::GetLogsRequest request = MakeRequest();
  EXPECT_EQ(Get(*remote_jobs_, request).status.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  request.set_steward(false);
  const Logs logs = Get(*jobs_, request);
  EXPECT_EQ(logs.status.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(logs.text(), "");
  EXPECT_TRUE(scheduler_.views().empty());
}

}  // namespace
}  // namespace sotto::api
