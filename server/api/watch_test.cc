#include <atomic>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "server/api/testing/api_fixture.h"
#include "server/api/watch_hub.h"

namespace sotto::api {
namespace {

using ::testing::ElementsAre;

v1::JobEvent MakeStep(int64_t step) {
  v1::JobEvent event;
  event.mutable_step()->set_step(step);
  event.mutable_step()->set_noised_mean_loss(4.5);
  event.mutable_step()->mutable_raw()->set_mean_loss(4.25);
  return event;
}

v1::JobEvent MakeState(v1::JobState state) {
  v1::JobEvent event;
  event.mutable_state()->set_state(state);
  return event;
}

v1::Job MakeJob(v1::JobState state) {
  v1::Job job;
  job.set_id("job-1");
  job.set_state(state);
  job.mutable_plan()->mutable_dataset()->set_budgeted(true);
  return job;
}

class WatchTest : public ApiFixture {
 protected:
  struct Watched {
    std::vector<v1::JobEvent> events;
    grpc::Status status;
  };

  std::unique_ptr<grpc::ClientReader<v1::WatchJobResponse>> Open(grpc::ClientContext& context,
                                                                 int64_t after_sequence = 0) {
    v1::WatchJobRequest request;
    request.set_id("job-1");
    request.set_after_sequence(after_sequence);
    return jobs_->WatchJob(&context, request);
  }
  // Until the end of the stream.
  static Watched ReadAllOf(grpc::ClientReader<v1::WatchJobResponse>& reader) {
    Watched watched;
    v1::WatchJobResponse message;
    while (reader.Read(&message)) {
      for (const v1::JobEvent& event : message.events()) watched.events.push_back(event);
    }
    watched.status = reader.Finish();
    return watched;
  }
  Watched Watch(const v1::WatchJobRequest& request, v1::JobService::Stub& stub) {
    grpc::ClientContext context;
    return ReadAllOf(*stub.WatchJob(&context, request));
  }
  Watched Watch(int64_t after_sequence) {
    grpc::ClientContext context;
    return ReadAllOf(*Open(context, after_sequence));
  }
  // A job that has ended, with events 1..steps+1.
  void StoreEndedJob(int steps) {
    for (int step = 0; step < steps; ++step) reader_.Append("job-1", MakeStep(step));
    reader_.Append("job-1", MakeState(v1::SUCCEEDED));
    reader_.PutJob(MakeJob(v1::SUCCEEDED));
  }
};

TEST_F(WatchTest, StoredEventsComeDenseThroughAllPagesAndEndTheStream) {
  StoreEndedJob(1000);
  const Watched watched = Watch(0);
  EXPECT_TRUE(watched.status.ok()) << watched.status.error_message();
  ASSERT_EQ(watched.events.size(), 1001);
  for (size_t i = 0; i < watched.events.size(); ++i) {
    EXPECT_EQ(watched.events[i].sequence(), static_cast<int64_t>(i) + 1);
  }
  EXPECT_EQ(watched.events.back().state().state(), v1::SUCCEEDED);
}

TEST_F(WatchTest, ResumesAfterTheGivenEvent) {
  StoreEndedJob(10);
  const Watched watched = Watch(9);
  EXPECT_TRUE(watched.status.ok());
  ASSERT_EQ(watched.events.size(), 2);
  EXPECT_EQ(watched.events.front().sequence(), 10);
}

TEST_F(WatchTest, AWatcherThatHasSeenTheEndGetsTheEndAgain) {
  StoreEndedJob(3);
  const Watched watched = Watch(4);
  EXPECT_TRUE(watched.status.ok()) << watched.status.error_message();
  EXPECT_TRUE(watched.events.empty());
}

TEST_F(WatchTest, LiveEventsArriveAsTheyAreCommitted) {
  reader_.PutJob(MakeJob(v1::RUNNING));
  grpc::ClientContext context;
  auto stream = Open(context);
  std::vector<int64_t> sequences;
  for (int step = 0; step < 20; ++step) {
    reader_.Append("job-1", MakeStep(step));
    if (step % 2 == 0) continue;  // Two at a time, so that a wake-up meets a write in flight.
    while (sequences.size() < static_cast<size_t>(step + 1)) {
      v1::WatchJobResponse message;
      ASSERT_TRUE(stream->Read(&message));
      for (const v1::JobEvent& event : message.events()) sequences.push_back(event.sequence());
    }
  }
  reader_.Append("job-1", MakeState(v1::CANCELLED));
  const Watched rest = ReadAllOf(*stream);
  EXPECT_TRUE(rest.status.ok());
  ASSERT_EQ(rest.events.size(), 1);
  EXPECT_EQ(rest.events[0].state().state(), v1::CANCELLED);
  for (size_t i = 0; i < sequences.size(); ++i) {
    EXPECT_EQ(sequences[i], static_cast<int64_t>(i) + 1);
  }
}

TEST_F(WatchTest, BelowTheFloorIsOutOfRangeWithTheOldestNumber) {
  StoreEndedJob(10);
  reader_.Compact("job-1", 6);
  const Watched watched = Watch(3);
  EXPECT_EQ(watched.status.error_code(), grpc::StatusCode::OUT_OF_RANGE);
  const auto info = DetailOf<google::rpc::ErrorInfo>(watched.status);
  EXPECT_EQ(info.reason(), "CURSOR_COMPACTED");
  EXPECT_EQ(info.metadata().at("oldest_sequence"), "6");
  EXPECT_TRUE(Watch(5).status.ok()) << "right above the floor";
}

TEST_F(WatchTest, AWatcherThatTheFloorOvertakesIsToldAndMissesNothingUnknowingly) {
  StoreEndedJob(1000);
  reader_.CompactAtRead(/*read=*/3, /*oldest_sequence=*/900);
  const Watched watched = Watch(0);
  EXPECT_EQ(watched.status.error_code(), grpc::StatusCode::OUT_OF_RANGE);
  EXPECT_EQ(DetailOf<google::rpc::ErrorInfo>(watched.status).metadata().at("oldest_sequence"),
            "900");
  ASSERT_EQ(watched.events.size(), 2 * WatchStream::kMaxEvents);
  for (size_t i = 0; i < watched.events.size(); ++i) {
    EXPECT_EQ(watched.events[i].sequence(), static_cast<int64_t>(i) + 1);
  }
}

TEST_F(WatchTest, AWatcherThatNeverReadsHoldsUpNobody) {
  reader_.PutJob(MakeJob(v1::RUNNING));
  grpc::ClientContext stuck_context;
  auto stuck = Open(stuck_context);
  // Far more than a connection's buffers hold.
  v1::JobEvent large;
  large.set_note(std::string(4000, 'x'));
  for (int i = 0; i < 2000; ++i) reader_.Append("job-1", large);
  reader_.Append("job-1", MakeState(v1::SUCCEEDED));
  reader_.PutJob(MakeJob(v1::SUCCEEDED));
  const Watched watched = Watch(0);
  EXPECT_TRUE(watched.status.ok()) << watched.status.error_message();
  EXPECT_EQ(watched.events.size(), 2001);
  stuck_context.TryCancel();
}

TEST_F(WatchTest, BeyondTheTailIsOutOfRange) {
  StoreEndedJob(1);
  const Watched watched = Watch(3);
  EXPECT_EQ(watched.status.error_code(), grpc::StatusCode::OUT_OF_RANGE);
  EXPECT_EQ(DetailOf<google::rpc::ErrorInfo>(watched.status).reason(), "CURSOR_BEYOND_TAIL");
}

TEST_F(WatchTest, UnknownJobsAndNegativeCursorsAreErrors) {
  EXPECT_EQ(Watch(0).status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(Watch(-1).status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(WatchTest, SilentStreamsGetBookmarks) {
  reader_.PutJob(MakeJob(v1::RUNNING));
  reader_.Append("job-1", MakeStep(0));
  grpc::ClientContext context;
  auto stream = Open(context);
  v1::WatchJobResponse message;
  ASSERT_TRUE(stream->Read(&message));
  ASSERT_EQ(message.events_size(), 1);

  std::atomic<bool> got_bookmark = false;
  std::thread reading([&] {
    ASSERT_TRUE(stream->Read(&message));
    got_bookmark = true;
  });
  while (!got_bookmark) {
    clock_.AwaitWaiters(1);
    clock_.Advance(WatchHub::kBookmarkInterval);
  }
  reading.join();
  EXPECT_EQ(message.events_size(), 0);
  EXPECT_EQ(message.tail_sequence(), 1);
  context.TryCancel();
}

TEST_F(WatchTest, ReadersOfAPrivateJobGetNoRawValues) {
  StoreEndedJob(1);
  for (v1::JobService::Stub* stub : {jobs_.get(), remote_jobs_.get()}) {
    v1::WatchJobRequest request;
    request.set_id("job-1");
    const Watched watched = Watch(request, *stub);
    ASSERT_EQ(watched.events.size(), 2);
    EXPECT_FALSE(watched.events[0].step().has_raw());
    EXPECT_EQ(watched.events[0].step().noised_mean_loss(), 4.5);
  }
  EXPECT_TRUE(scheduler_.views().empty());
}

TEST_F(WatchTest, AStewardsViewIsRecordedAndRaw) {
  StoreEndedJob(1);
  v1::WatchJobRequest request;
  request.set_id("job-1");
  request.set_steward(true);
  const Watched watched = Watch(request, *jobs_);
  ASSERT_EQ(watched.events.size(), 2) << watched.status.error_message();
  EXPECT_EQ(watched.events[0].step().raw().mean_loss(), 4.25);
  EXPECT_THAT(scheduler_.views(), ElementsAre("job-1 watch"));
}

TEST_F(WatchTest, CallersOverTcpAreNoStewards) {
  StoreEndedJob(1);
  v1::WatchJobRequest request;
  request.set_id("job-1");
  request.set_steward(true);
  const Watched watched = Watch(request, *remote_jobs_);
  EXPECT_EQ(watched.status.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_TRUE(watched.events.empty());
  EXPECT_TRUE(scheduler_.views().empty());
}

TEST_F(WatchTest, JobsWithoutAPromiseOnPublicDataStreamRawValues) {
  StoreEndedJob(1);
  v1::Job job = MakeJob(v1::SUCCEEDED);
  job.mutable_plan()->mutable_privacy()->set_not_private(true);
  reader_.PutJob(job);
  EXPECT_FALSE(Watch(0).events.at(0).step().has_raw()) << "the data still have a budget";
  job.mutable_plan()->mutable_dataset()->set_budgeted(false);
  reader_.PutJob(job);
  EXPECT_TRUE(Watch(0).events.at(0).step().has_raw());
}

TEST_F(WatchTest, DrainEndsOpenAndLaterStreams) {
  reader_.PutJob(MakeJob(v1::RUNNING));
  reader_.Append("job-1", MakeStep(0));
  grpc::ClientContext context;
  auto stream = Open(context);
  v1::WatchJobResponse message;
  ASSERT_TRUE(stream->Read(&message));
  server_->Drain(absl::Seconds(5));
  const Watched rest = ReadAllOf(*stream);
  EXPECT_EQ(rest.status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(DetailOf<google::rpc::RetryInfo>(rest.status).retry_delay().seconds(), 1);
}

// Every watcher sees every event once, in order, while others come and go.
TEST_F(WatchTest, WatchersMayComeAndGoWhileEventsAreCommitted) {
  constexpr int kEvents = 500;
  reader_.PutJob(MakeJob(v1::RUNNING));
  std::vector<std::thread> threads;
  std::vector<Watched> results(4);
  for (Watched& result : results) {
    threads.emplace_back([this, &result] { result = Watch(0); });
  }
  std::atomic<bool> stop = false;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([this, &stop] {
      while (!stop) {
        grpc::ClientContext context;
        auto stream = Open(context);
        v1::WatchJobResponse message;
        stream->Read(&message);
        context.TryCancel();
        stream->Finish();
      }
    });
  }
  for (int step = 0; step < kEvents; ++step) reader_.Append("job-1", MakeStep(step));
  reader_.Append("job-1", MakeState(v1::FAILED));
  reader_.PutJob(MakeJob(v1::FAILED));
  stop = true;
  for (std::thread& thread : threads) thread.join();
  for (const Watched& result : results) {
    EXPECT_TRUE(result.status.ok()) << result.status.error_message();
    ASSERT_EQ(result.events.size(), kEvents + 1);
    for (size_t i = 0; i < result.events.size(); ++i) {
      ASSERT_EQ(result.events[i].sequence(), static_cast<int64_t>(i) + 1);
    }
  }
}

}  // namespace
}  // namespace sotto::api
