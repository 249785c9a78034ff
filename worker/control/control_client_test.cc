#include "worker/control/control_client.h"

#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <grpcpp/grpcpp.h>

#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "common/base/files.h"
#include "common/base/mutex.h"
#include "common/base/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/sotto/v1/worker_service.grpc.pb.h"

namespace sotto::control {
namespace {

using ::testing::HasSubstr;

constexpr absl::Duration kLong = absl::Seconds(60);  // A test that waits so long has failed.

// A coordinator whose answers the test gives: each stream is one blocking handler.
class FakeCoordinator : public v1::WorkerService::Service {
 public:
  using Stream = grpc::ServerReaderWriter<v1::CoordinatorMessage, v1::WorkerMessage>;

  grpc::Status Attach(grpc::ServerContext* context, Stream* stream) override {
    v1::WorkerMessage hello;
    if (!stream->Read(&hello)) return grpc::Status::CANCELLED;
    {
      MutexLock lock(&mutex_);
      hellos_.push_back(hello.hello());
      end_.reset();
    }
    if (!refusal_.ok()) return refusal_;
    v1::CoordinatorMessage welcome;
    welcome.mutable_welcome()->set_secret(hellos_.size() == 1 ? "secret" : "");
    stream->Write(welcome);
    {
      MutexLock lock(&mutex_);
      stream_ = stream;
    }
    std::thread reader([&] { ReadAll(*stream); });
    grpc::Status status;
    {
      auto has_end = [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return end_.has_value(); };
      MutexLock lock(&mutex_, absl::Condition(&has_end));
      status = *end_;
      stream_ = nullptr;
    }
    if (!status.ok())
      context->TryCancel();  // Ends the reader; after Finished it has ended by itself.
    reader.join();
    return status;
  }

  void Send(const v1::CoordinatorMessage& message) {
    auto has_stream = [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return stream_ != nullptr; };
    MutexLock lock(&mutex_, absl::Condition(&has_stream));
    stream_->Write(message);
  }
  void BreakStream() {
    MutexLock lock(&mutex_);
    end_ = grpc::Status(grpc::StatusCode::UNAVAILABLE, "broken");
  }
  void Refuse(grpc::Status refusal) { refusal_ = std::move(refusal); }

  // The next message that is no heartbeat.
  v1::WorkerMessage Await() {
    auto has_some = [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return !received_.empty(); };
    MutexLock lock(&mutex_);
    if (!mutex_.AwaitWithTimeout(absl::Condition(&has_some), kLong)) {
      ADD_FAILURE() << "no message came";
      return {};
    }
    v1::WorkerMessage message = received_.front();
    received_.pop_front();
    return message;
  }
  v1::Heartbeat AwaitHeartbeat() {
    auto has_one = [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return heartbeat_.has_value(); };
    MutexLock lock(&mutex_);
    if (!mutex_.AwaitWithTimeout(absl::Condition(&has_one), kLong)) {
      ADD_FAILURE() << "no heartbeat came";
      return {};
    }
    return *heartbeat_;
  }
  std::vector<v1::Hello> AwaitHellos(size_t count) {
    auto has_enough = [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return hellos_.size() >= count; };
    MutexLock lock(&mutex_);
    if (!mutex_.AwaitWithTimeout(absl::Condition(&has_enough), kLong)) ADD_FAILURE() << "no hello";
    return hellos_;
  }

 private:
  void ReadAll(Stream& stream) {
    v1::WorkerMessage message;
    while (stream.Read(&message)) {
      MutexLock lock(&mutex_);
      if (message.has_heartbeat()) {
        heartbeat_ = message.heartbeat();
      } else {
        received_.push_back(message);
      }
      if (message.has_finished()) {
        end_ = grpc::Status::OK;
        return;
      }
    }
    MutexLock lock(&mutex_);
    if (!end_.has_value()) end_ = grpc::Status::CANCELLED;
  }

  grpc::Status refusal_;
  Mutex mutex_;
  Stream* stream_ ABSL_GUARDED_BY(mutex_) = nullptr;
  std::optional<grpc::Status> end_ ABSL_GUARDED_BY(mutex_);
  std::vector<v1::Hello> hellos_ ABSL_GUARDED_BY(mutex_);
  std::deque<v1::WorkerMessage> received_ ABSL_GUARDED_BY(mutex_);
  std::optional<v1::Heartbeat> heartbeat_ ABSL_GUARDED_BY(mutex_);
};

class ControlClientTest : public ::testing::Test {
 protected:
  ControlClientTest() : folder_(*MakeTempDir("/tmp/control-")) {
    options_.coordinator = absl::StrCat("unix:", folder_, "/socket");
    options_.job = "job-1";
    options_.attempt = 2;
    options_.rank = 0;
    options_.attempt_token = "cafe";
    options_.clock = &RealClock::Get();
    options_.first_backoff = absl::Milliseconds(1);
    options_.heartbeat_interval = absl::Milliseconds(20);
    StartServer();
  }
  ~ControlClientTest() override {
    client_.reset();
    StopServer();
    rmdir(folder_.c_str());
  }

  void StartServer() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(options_.coordinator, grpc::InsecureServerCredentials());
    builder.RegisterService(&coordinator_);
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
  }
  void StopServer() {
    if (server_ == nullptr) return;
    coordinator_.BreakStream();
    server_->Shutdown(std::chrono::system_clock::now());
    server_.reset();
  }
  void StartClient() {
    auto client = ControlClient::Start(options_);
    ASSERT_OK(client);
    client_ = *std::move(client);
  }
  static v1::CoordinatorMessage MakeGrant(int64_t first, int64_t end) {
    v1::CoordinatorMessage message;
    message.mutable_grant()->set_first_step(first);
    message.mutable_grant()->set_end_step(end);
    message.mutable_grant()->set_attempt(2);
    return message;
  }
  std::unique_ptr<grant::GrantGate> MakeGate(bool asks = true) {
    return std::make_unique<grant::GrantGate>(grant::GrantGate::Options{
        .attempt = 2,
        .end_step = 100,
        .coordinator_grace = kLong,
        .clock = &RealClock::Get(),
        .request_more = asks ? grant::GrantGate::Requester([this](int64_t first_step) {
          client_->RequestSteps(first_step);
        })
                             : grant::GrantGate::Requester()});
  }

  const std::string folder_;
  ControlClient::Options options_;
  FakeCoordinator coordinator_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<ControlClient> client_;
};

TEST_F(ControlClientTest, HelloSaysWhoItIsAndWelcomeIsGivenOut) {
  StartClient();
  ASSERT_OK_AND_ASSIGN(const v1::Welcome welcome, client_->AwaitWelcome(kLong));
  EXPECT_EQ(welcome.secret(), "secret");
  const v1::Hello hello = coordinator_.AwaitHellos(1).front();
  EXPECT_EQ(hello.protocol_version(), kProtocolVersion);
  EXPECT_EQ(hello.job(), "job-1");
  EXPECT_EQ(hello.attempt(), 2);
  EXPECT_EQ(hello.attempt_token(), "cafe");
  EXPECT_EQ(hello.next_step(), -1);
}

TEST_F(ControlClientTest, TheSecretIsGivenOutOnce) {
  StartClient();
  ASSERT_OK(client_->AwaitWelcome(kLong));
  ASSERT_OK_AND_ASSIGN(const v1::Welcome again, client_->AwaitWelcome(kLong));
  EXPECT_EQ(again.secret(), "");
}

TEST_F(ControlClientTest, AGrantThatCameBeforeTheGateReachesIt) {
  StartClient();
  ASSERT_OK(client_->AwaitWelcome(kLong));
  coordinator_.Send(MakeGrant(0, 5));
  auto gate = MakeGate();
  client_->Serve(gate.get());
  EXPECT_OK(gate->Authorize(0));
  client_->Serve(nullptr);
}

TEST_F(ControlClientTest, ARequestIsAnsweredByAGrantAndAuthorisesTheStep) {
  StartClient();
  ASSERT_OK(client_->AwaitWelcome(kLong));
  auto gate = MakeGate();
  client_->Serve(gate.get());
  std::thread coordinator([&] {
    EXPECT_EQ(coordinator_.Await().grant_request().first_step(), 7);
    coordinator_.Send(MakeGrant(7, 9));
  });
  EXPECT_OK(gate->Authorize(7));
  coordinator.join();
  client_->Serve(nullptr);
}

TEST_F(ControlClientTest, AfterABreakHelloNamesTheNextStepAndTheRestIsSentAgain) {
  StartClient();
  ASSERT_OK(client_->AwaitWelcome(kLong));
  auto gate = MakeGate(/*asks=*/false);
  client_->Serve(gate.get());
  coordinator_.Send(MakeGrant(0, 50));
  ASSERT_OK(gate->Authorize(0));
  client_->ReportNote("fell back");
  client_->ReportEvaluation(0, 5.5);
  EXPECT_EQ(coordinator_.Await().note().text(), "fell back");
  EXPECT_EQ(coordinator_.Await().evaluation().evaluation_loss(), 5.5);

  coordinator_.BreakStream();
  EXPECT_EQ(coordinator_.AwaitHellos(2).back().next_step(), 1);
  EXPECT_EQ(coordinator_.Await().note().text(), "fell back");
  EXPECT_EQ(coordinator_.Await().evaluation().evaluation_loss(), 5.5);
  client_->Serve(nullptr);
}

TEST_F(ControlClientTest, ACoordinatorThatWasAwayIsFoundAgain) {
  StartClient();
  ASSERT_OK(client_->AwaitWelcome(kLong));
  StopServer();
  client_->ReportNote("while it was away");
  StartServer();
  EXPECT_EQ(coordinator_.Await().note().text(), "while it was away");
}

TEST_F(ControlClientTest, StopReachesTheGate) {
  StartClient();
  ASSERT_OK(client_->AwaitWelcome(kLong));
  auto gate = MakeGate();
  client_->Serve(gate.get());
  v1::CoordinatorMessage stop;
  stop.mutable_stop()->set_mode(v1::Stop::CHECKPOINT);
  coordinator_.Send(stop);
  EXPECT_THAT(gate->Authorize(0), StatusIs(absl::StatusCode::kCancelled));
  EXPECT_EQ(gate->stop_mode(), grant::StopMode::kCheckpoint);
  client_->Serve(nullptr);
}

TEST_F(ControlClientTest, ARefusalIsFinalAndAbortsTheGate) {
  coordinator_.Refuse(grpc::Status(grpc::StatusCode::ABORTED, "attempt 3 has begun"));
  StartClient();
  EXPECT_THAT(client_->AwaitWelcome(kLong),
              StatusIs(absl::StatusCode::kAborted, HasSubstr("attempt 3")));
  auto gate = MakeGate();
  client_->Serve(gate.get());
  EXPECT_EQ(gate->stop_mode(), grant::StopMode::kAbort);
  EXPECT_THAT(client_->Finish(v1::Finished(), kLong), StatusIs(absl::StatusCode::kAborted));
  client_->Serve(nullptr);
}

TEST_F(ControlClientTest, FinishWaitsUntilTheCoordinatorHasTakenItIn) {
  StartClient();
  ASSERT_OK(client_->AwaitWelcome(kLong));
  client_->ReportNote("last words");
  v1::Finished finished;
  finished.set_outcome(v1::Finished::DONE);
  finished.set_started_steps(3);
  ASSERT_OK(client_->Finish(finished, kLong));
  EXPECT_EQ(coordinator_.Await().note().text(), "last words");
  EXPECT_EQ(coordinator_.Await().finished().started_steps(), 3);
}

TEST_F(ControlClientTest, WithoutACoordinatorFinishEndsAtItsDeadline) {
  StartClient();
  ASSERT_OK(client_->AwaitWelcome(kLong));
  StopServer();
  EXPECT_THAT(client_->Finish(v1::Finished(), absl::Milliseconds(20)),
              StatusIs(absl::StatusCode::kDeadlineExceeded));
}

TEST_F(ControlClientTest, HeartbeatsCarryTheProgress) {
  StartClient();
  client_->SetProgress(
      {.started_steps = 9, .seconds_per_step = 0.5, .peak_bytes = 123, .tensor_peak_bytes = 45});
  ASSERT_OK(client_->AwaitWelcome(kLong));
  const v1::Heartbeat heartbeat = coordinator_.AwaitHeartbeat();
  EXPECT_EQ(heartbeat.started_steps(), 9);
  EXPECT_EQ(heartbeat.peak_bytes(), 123);
  EXPECT_EQ(heartbeat.tensor_peak_bytes(), 45);
}

}  // namespace
}  // namespace sotto::control
