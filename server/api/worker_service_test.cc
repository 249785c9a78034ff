#include "server/api/worker_service.h"

#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <grpcpp/grpcpp.h>

#include "common/base/mutex.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sotto::api {
namespace {

using ::testing::ElementsAre;

// Records what a stream hands over and lets a test answer on its channel.
class RecordingScheduler : public scheduler::Scheduler {
 public:
  void Admit(scheduler::AdmitRequest,
             std::function<void(absl::StatusOr<scheduler::AdmitResult>)>) override {
    ADD_FAILURE() << "not a worker's call";
  }
  void Cancel(std::string, std::function<void(absl::StatusOr<v1::Job>)>) override {
    ADD_FAILURE() << "not a worker's call";
  }
  void Pause(std::string, std::function<void(absl::StatusOr<v1::Job>)>) override {
    ADD_FAILURE() << "not a worker's call";
  }
  void Resume(scheduler::ResumeRequest, std::function<void(absl::StatusOr<v1::Job>)>) override {
    ADD_FAILURE() << "not a worker's call";
  }
  StreamId Attach(v1::Hello hello, std::shared_ptr<scheduler::WorkerChannel> channel) override {
    absl::Status refusal;
    StreamId id;
    {
      MutexLock lock(&mutex_);
      refusal = refusal_;
      id = ++attached_;
      channels_[id] = channel;
      log_.push_back("hello " + hello.job());
    }
    if (!refusal.ok()) channel->Close(refusal);
    return id;
  }
  void Receive(StreamId, v1::WorkerMessage message) override {
    MutexLock lock(&mutex_);
    log_.push_back("beat " + std::to_string(message.heartbeat().started_steps()));
  }
  void Detach(StreamId id) override {
    MutexLock lock(&mutex_);
    log_.push_back("detach " + std::to_string(id));
    channels_.erase(id);
    ++detached_;
  }
  void RecordStewardView(std::string, std::string, std::function<void(absl::Status)>) override {
    ADD_FAILURE() << "not a worker's call";
  }
  scheduler::SlotsInfo Slots() const override { return {}; }

  void Refuse(absl::Status refusal) {
    MutexLock lock(&mutex_);
    refusal_ = std::move(refusal);
  }
  std::shared_ptr<scheduler::WorkerChannel> AwaitChannel(StreamId id) {
    auto is_attached = [&] { return attached_ >= id; };
    MutexLock lock(&mutex_, absl::Condition(&is_attached));
    return channels_[id];
  }
  void AwaitDetached(int count) {
    auto is_detached = [&] { return detached_ >= count; };
    MutexLock lock(&mutex_, absl::Condition(&is_detached));
  }
  std::vector<std::string> log() {
    MutexLock lock(&mutex_);
    return log_;
  }

 private:
  Mutex mutex_;
  absl::Status refusal_;
  StreamId attached_ = 0;
  int detached_ = 0;
  std::map<StreamId, std::shared_ptr<scheduler::WorkerChannel>> channels_;
  std::vector<std::string> log_;
};

class WorkerServiceTest : public ::testing::Test {
 protected:
  WorkerServiceTest() : service_(scheduler_) {
    grpc::ServerBuilder builder;
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    stub_ = v1::WorkerService::NewStub(server_->InProcessChannel(grpc::ChannelArguments()));
  }
  ~WorkerServiceTest() override {
    service_.Drain(absl::UnavailableError("test over"));
    server_->Shutdown();
  }

  struct Client {
    grpc::ClientContext context;
    std::unique_ptr<grpc::ClientReaderWriter<v1::WorkerMessage, v1::CoordinatorMessage>> stream;
  };
  std::unique_ptr<Client> Connect() {
    auto client = std::make_unique<Client>();
    client->stream = stub_->Attach(&client->context);
    return client;
  }
  static v1::WorkerMessage MakeHello(const std::string& job) {
    v1::WorkerMessage message;
    message.mutable_hello()->set_job(job);
    return message;
  }
  static v1::WorkerMessage MakeHeartbeat(int64_t started_steps) {
    v1::WorkerMessage message;
    message.mutable_heartbeat()->set_started_steps(started_steps);
    return message;
  }
  static v1::CoordinatorMessage MakeAck(int64_t step) {
    v1::CoordinatorMessage message;
    message.mutable_ack()->set_step(step);
    return message;
  }

  RecordingScheduler scheduler_;
  WorkerService service_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<v1::WorkerService::Stub> stub_;
};

TEST_F(WorkerServiceTest, MessagesArriveInOrderAndTheEndDetachesOnce) {
  auto client = Connect();
  ASSERT_TRUE(client->stream->Write(MakeHello("job-1")));
  for (int step = 1; step <= 3; ++step) ASSERT_TRUE(client->stream->Write(MakeHeartbeat(step)));
  client->stream->WritesDone();
  v1::CoordinatorMessage message;
  EXPECT_FALSE(client->stream->Read(&message));
  EXPECT_TRUE(client->stream->Finish().ok());
  scheduler_.AwaitDetached(1);
  EXPECT_THAT(scheduler_.log(),
              ElementsAre("hello job-1", "beat 1", "beat 2", "beat 3", "detach 1"));
}

TEST_F(WorkerServiceTest, CloseComesAfterEverythingQueuedBefore) {
  auto client = Connect();
  ASSERT_TRUE(client->stream->Write(MakeHello("job-1")));
  auto channel = scheduler_.AwaitChannel(1);
  for (int step = 0; step < 100; ++step) channel->Send(MakeAck(step));
  channel->Close(absl::AbortedError("attempt 2 has begun"));
  channel->Send(MakeAck(100));  // Ignored: the stream is closed.

  v1::CoordinatorMessage message;
  int64_t expected = 0;
  while (client->stream->Read(&message)) EXPECT_EQ(message.ack().step(), expected++);
  EXPECT_EQ(expected, 100);
  const grpc::Status status = client->stream->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::ABORTED);
  EXPECT_EQ(status.error_message(), "attempt 2 has begun");
}

TEST_F(WorkerServiceTest, AStreamThatDoesNotBeginWithHelloIsRefused) {
  auto client = Connect();
  ASSERT_TRUE(client->stream->Write(MakeHeartbeat(1)));
  v1::CoordinatorMessage message;
  EXPECT_FALSE(client->stream->Read(&message));
  EXPECT_EQ(client->stream->Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_TRUE(scheduler_.log().empty());
}

TEST_F(WorkerServiceTest, ARefusedHelloEndsTheStreamWithItsStatus) {
  scheduler_.Refuse(absl::UnauthenticatedError("wrong attempt token"));
  auto client = Connect();
  ASSERT_TRUE(client->stream->Write(MakeHello("job-1")));
  v1::CoordinatorMessage message;
  EXPECT_FALSE(client->stream->Read(&message));
  EXPECT_EQ(client->stream->Finish().error_code(), grpc::StatusCode::UNAUTHENTICATED);
}

TEST_F(WorkerServiceTest, ACancelledClientIsDetached) {
  auto client = Connect();
  ASSERT_TRUE(client->stream->Write(MakeHello("job-1")));
  scheduler_.AwaitChannel(1);
  client->context.TryCancel();
  scheduler_.AwaitDetached(1);
  EXPECT_EQ(client->stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
}

TEST_F(WorkerServiceTest, DrainEndsOpenAndLaterStreams) {
  auto early = Connect();
  ASSERT_TRUE(early->stream->Write(MakeHello("job-1")));
  scheduler_.AwaitChannel(1);
  service_.Drain(absl::UnavailableError("draining"));
  v1::CoordinatorMessage message;
  EXPECT_FALSE(early->stream->Read(&message));
  EXPECT_EQ(early->stream->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);

  auto late = Connect();
  EXPECT_FALSE(late->stream->Read(&message));
  EXPECT_EQ(late->stream->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

// Senders, a closer and a cancelling client race; nothing may crash, hang or detach twice.
TEST_F(WorkerServiceTest, SendersCloseAndCancelMayRace) {
  constexpr int kStreams = 40;
  for (int i = 1; i <= kStreams; ++i) {
    auto client = Connect();
    ASSERT_TRUE(client->stream->Write(MakeHello("job")));
    auto channel = scheduler_.AwaitChannel(i);
    std::thread sender([&] {
      for (int step = 0; step < 50; ++step) channel->Send(MakeAck(step));
    });
    std::thread closer([&] { channel->Close(absl::OkStatus()); });
    client->context.TryCancel();
    sender.join();
    closer.join();
    client->stream->Finish();
  }
  scheduler_.AwaitDetached(kStreams);
  EXPECT_EQ(scheduler_.log().size(), 2 * kStreams);
}

}  // namespace
}  // namespace sotto::api
