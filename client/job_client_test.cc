#include "client/job_client.h"

#include <unistd.h>

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <grpcpp/grpcpp.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/rpc_status.h"
#include "common/base/files.h"
#include "common/base/status_matchers.h"
#include "gmock/gmock.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "gtest/gtest.h"

namespace sotto::client {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

v1::JobEvent MakeEvent(int64_t sequence, v1::JobState state = v1::RUNNING) {
  v1::JobEvent event;
  event.set_sequence(sequence);
  event.mutable_state()->set_state(state);
  return event;
}

// Answers each WatchJob by the next script; the last one is repeated.
class ScriptedJobs : public v1::JobService::Service {
 public:
  using Writer = grpc::ServerWriter<v1::WatchJobResponse>;
  using Script = std::function<grpc::Status(grpc::ServerContext*, int64_t after, Writer*)>;

  grpc::Status WatchJob(grpc::ServerContext* context, const v1::WatchJobRequest* request,
                        Writer* writer) override {
    after_.push_back(request->after_sequence());
    Script script = scripts_.front();
    if (scripts_.size() > 1) scripts_.pop_front();
    return script(context, request->after_sequence(), writer);
  }

  // Sends `events`, then ends the stream with `status`.
  static Script Give(std::vector<v1::JobEvent> events, grpc::Status status) {
    return [events, status](grpc::ServerContext*, int64_t, Writer* writer) {
      v1::WatchJobResponse response;
      for (const v1::JobEvent& event : events) *response.add_events() = event;
      writer->Write(response);
      return status;
    };
  }

  std::deque<Script> scripts_;
  std::vector<int64_t> after_;  // what each stream asked for
};

class JobClientTest : public ::testing::Test {
 protected:
  JobClientTest() : folder_(*MakeTempDir("/tmp/job-client-")) {
    address_ = absl::StrCat("unix:", folder_, "/socket");
    grpc::ServerBuilder builder;
    builder.AddListeningPort(address_, grpc::InsecureServerCredentials());
    builder.RegisterService(&jobs_);
    server_ = builder.BuildAndStart();
    auto client = JobClient::Connect(address_, absl::Seconds(30));
    EXPECT_OK(client);
    client_ = *std::move(client);
  }
  ~JobClientTest() override {
    server_->Shutdown(std::chrono::system_clock::now());
    server_.reset();
    rmdir(folder_.c_str());
  }

  absl::Status Watch(JobClient::WatchOptions options = {.id = "job-1"}) {
    return client_->Watch(options,
                          [this](const v1::JobEvent& event) { seen_.push_back(event.sequence()); });
  }

  const std::string folder_;
  std::string address_;
  ScriptedJobs jobs_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<JobClient> client_;
  std::vector<int64_t> seen_;
};

const grpc::Status kBroken(grpc::StatusCode::UNAVAILABLE, "draining");

TEST_F(JobClientTest, WatchEndsWithTheEventThatEndsTheJob) {
  jobs_.scripts_ = {
      ScriptedJobs::Give({MakeEvent(1), MakeEvent(2, v1::SUCCEEDED)}, grpc::Status::OK)};
  EXPECT_OK(Watch());
  EXPECT_THAT(seen_, ElementsAre(1, 2));
}

TEST_F(JobClientTest, ABrokenStreamIsTakenUpWhereItEndedAndNothingComesTwice) {
  jobs_.scripts_ = {
      ScriptedJobs::Give({MakeEvent(1), MakeEvent(2)}, kBroken),
      ScriptedJobs::Give({MakeEvent(2), MakeEvent(3)},
                         grpc::Status::OK),  // Ended before the job did.
      ScriptedJobs::Give({}, grpc::Status(grpc::StatusCode::CANCELLED, "shutting down")),
      ScriptedJobs::Give({MakeEvent(4, v1::FAILED)}, grpc::Status::OK)};
  EXPECT_OK(Watch());
  EXPECT_THAT(seen_, ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(jobs_.after_, ElementsAre(0, 2, 3, 3));
}

TEST_F(JobClientTest, AStreamWhoseCoordinatorIsGoneForGoodEndsAtOnce) {
  jobs_.scripts_ = {ScriptedJobs::Give({MakeEvent(1)}, kBroken),
                    ScriptedJobs::Give({MakeEvent(2)}, kBroken), ScriptedJobs::Give({}, kBroken)};
  int asked = 0;
  const auto may_return = [&] {
    return ++asked < 2 ? absl::OkStatus() : absl::UnavailableError("killed by signal 9");
  };
  EXPECT_THAT(
      Watch({.id = "job-1", .reconnect = absl::InfiniteDuration(), .may_return = may_return}),
      StatusIs(absl::StatusCode::kUnavailable, "killed by signal 9"));
  EXPECT_THAT(seen_, ElementsAre(1, 2));
}

TEST_F(JobClientTest, AStreamThatStaysBrokenIsAnError) {
  jobs_.scripts_ = {ScriptedJobs::Give({MakeEvent(1)}, kBroken), ScriptedJobs::Give({}, kBroken)};
  EXPECT_THAT(Watch({.id = "job-1", .reconnect = absl::Milliseconds(100)}),
              StatusIs(absl::StatusCode::kUnavailable,
                       AllOf(HasSubstr("job-1"), HasSubstr("before the job did"))));
  EXPECT_THAT(seen_, ElementsAre(1));
}

TEST_F(JobClientTest, AnErrorThatStaysIsReturnedAtOnce) {
  jobs_.scripts_ = {
      ScriptedJobs::Give({}, grpc::Status(grpc::StatusCode::OUT_OF_RANGE, "oldest_sequence is 7"))};
  EXPECT_THAT(Watch(), StatusIs(absl::StatusCode::kOutOfRange, HasSubstr("7")));
  EXPECT_EQ(jobs_.after_.size(), 1);
}

TEST_F(JobClientTest, InterruptEndsAWatchThatWaits) {
  jobs_.scripts_ = {[this](grpc::ServerContext* context, int64_t, ScriptedJobs::Writer* writer) {
    writer->Write(v1::WatchJobResponse());
    std::thread interrupter([this] { client_->Interrupt(); });
    // Nothing more is sent: only the client's cancellation makes a write fail.
    while (writer->Write(v1::WatchJobResponse()) && !context->IsCancelled()) {
    }
    interrupter.join();
    return grpc::Status::OK;
  }};
  EXPECT_THAT(Watch(), StatusIs(absl::StatusCode::kCancelled));
  EXPECT_THAT(Watch(), StatusIs(absl::StatusCode::kCancelled));
}

TEST_F(JobClientTest, AJobThatGoesOnPastTheDeadlineIsATimeout) {
  jobs_.scripts_ = {ScriptedJobs::Give({MakeEvent(1)}, kBroken)};
  EXPECT_THAT(Watch({.id = "job-1", .deadline = absl::Now() + absl::Milliseconds(50)}),
              StatusIs(absl::StatusCode::kDeadlineExceeded, HasSubstr("job-1")));
}

TEST(ConnectTest, NobodyThereIsUnavailableAndNamesTheAddress) {
  EXPECT_THAT(JobClient::Connect("unix:/nonexistent/socket", absl::Milliseconds(50)),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("/nonexistent/socket")));
}

TEST(RpcStatusTest, EveryFieldViolationIsInTheMessageOnce) {
  google::rpc::BadRequest bad_request;
  auto* first = bad_request.add_field_violations();
  first->set_field("train.steps");
  first->set_description("must be at least 1, but is -2");
  auto* second = bad_request.add_field_violations();
  second->set_field("workers.count");
  second->set_description("must be at most 2, but is 9");
  google::rpc::Status details;
  details.add_details()->PackFrom(bad_request);
  const absl::Status status = FromRpc(grpc::Status(grpc::StatusCode::INVALID_ARGUMENT,
                                                   "train.steps must be at least 1, but is -2",
                                                   details.SerializeAsString()));
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument,
                               "train.steps must be at least 1, but is -2\n"
                               "  workers.count: must be at most 2, but is 9"));
}

}  // namespace
}  // namespace sotto::client
