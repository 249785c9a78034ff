#include "server/scheduler/job_scheduler.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/notification.h"
#include "common/base/files.h"
#include "common/base/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/scheduler/testing/scheduler_fixture.h"

namespace sotto::scheduler {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

using JobSchedulerTest = SchedulerFixture;

TEST_F(JobSchedulerTest, AdmissionStoresTheJobAndReservesItsCost) {
  ASSERT_OK_AND_ASSIGN(const AdmitResult result, Admit(MakePlan(40, 2, 44)));
  EXPECT_FALSE(result.existing);
  EXPECT_EQ(result.job.state(), v1::QUEUED);
  EXPECT_EQ(AccountOf(result.job.id()).reserved, 44);
  EXPECT_EQ(AccountOf(result.job.id()).committed, 0);
}

TEST_F(JobSchedulerTest, OverBudgetIsRefusedAndRecordedAndLeavesNoJob) {
  EXPECT_THAT(Admit(MakePlan(50'000'000)), StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(fake_launcher_.launches(), IsEmpty());
  const auto page = Read<ledger::EntryPage>(
      [&](auto& transaction) { return ledger_.ListEntries(transaction, "data", 0, 100); });
  EXPECT_EQ(page.entries.back().kind(), v1::LedgerEntry::REFUSED);
  EXPECT_THAT(Read<std::vector<v1::Job>>(
                  [&](auto& transaction) { return store_->ListLiveJobs(transaction); }),
              IsEmpty());
}

TEST_F(JobSchedulerTest, RequestIdMakesAdmissionIdempotent) {
  ASSERT_OK_AND_ASSIGN(const AdmitResult first, Admit(MakePlan(), "key"));
  ASSERT_OK_AND_ASSIGN(const AdmitResult second, Admit(MakePlan(), "key"));
  EXPECT_TRUE(second.existing);
  EXPECT_EQ(second.job.id(), first.job.id());
  v1::JobPlan other = MakePlan();
  other.mutable_spec()->set_name("other");
  EXPECT_THAT(Admit(other, "key"), StatusIs(absl::StatusCode::kAlreadyExists));
  EXPECT_THAT(fake_launcher_.launches(), SizeIs(1));
}

TEST_F(JobSchedulerTest, JobRunsToItsEndAndReleasesTheRest) {
  ASSERT_OK_AND_ASSIGN(const AdmitResult result, Admit(MakePlan(40, 2, 50)));
  const std::string job = result.job.id();
  const std::vector<FakeRank> ranks = {Attach(job, 0), Attach(job, 1)};
  RunToEnd(job, ranks, 0, 40);
  const v1::Job stored = Stored(job);
  EXPECT_EQ(stored.state(), v1::SUCCEEDED);
  EXPECT_EQ(stored.reason(), v1::STEPS_DONE);
  EXPECT_EQ(stored.completed_steps(), 40);
  EXPECT_GT(stored.epsilon(), 0);
  EXPECT_TRUE(stored.has_end_time());
  EXPECT_EQ(AccountOf(job).committed, 40);
  EXPECT_EQ(AccountOf(job).released, 10);
  EXPECT_TRUE(AccountOf(job).settled);
  EXPECT_EQ(scheduler_->Slots().slots_in_use, 0);
  ExpectLedgerIsSound();
}

TEST_F(JobSchedulerTest, EventsAreDenseAndReportsCarryEpsilonAndBudget) {
  ASSERT_OK_AND_ASSIGN(const AdmitResult result, Admit(MakePlan()));
  const std::string job = result.job.id();
  RunToEnd(job, {Attach(job, 0), Attach(job, 1)}, 0, 40);
  int64_t sequence = 0;
  int64_t steps = 0;
  double epsilon = 0;
  for (const v1::JobEvent& event : Events(job)) {
    EXPECT_EQ(event.sequence(), ++sequence);
    if (!event.has_step()) continue;
    EXPECT_EQ(event.step().step(), steps++);
    EXPECT_GT(event.step().epsilon(), epsilon);
    EXPECT_GT(event.step().budget_left_epsilon(), 0);
    EXPECT_LT(event.step().budget_left_epsilon(), 8);
    epsilon = event.step().epsilon();
  }
  EXPECT_EQ(steps, 40);
  EXPECT_EQ(Stored(job).epsilon(), epsilon);
}

TEST_F(JobSchedulerTest, TheFirstRankOfANewNumberOfThreadsMeasuresItsDevice) {
  v1::JobPlan plan = MakePlan(40, 1);
  plan.mutable_sharding()->set_threads_per_rank(3);
  ASSERT_OK_AND_ASSIGN(const AdmitResult first, Admit(plan));
  const FakeRank rank = Attach(first.job.id(), 0);
  EXPECT_TRUE(rank.channel->messages[0].welcome().measure_device());
  v1::WorkerMessage message;
  message.mutable_device_profile()->set_threads(2);  // not what it was asked for
  scheduler_->Receive(rank.stream, message);
  message.mutable_device_profile()->set_threads(3);
  scheduler_->Receive(rank.stream, message);
  Pump();
  const auto profiles = Read<std::vector<v1::DeviceProfile>>(
      [&](auto& transaction) { return store_->ListDeviceProfiles(transaction); });
  ASSERT_THAT(profiles, SizeIs(1));
  EXPECT_EQ(profiles[0].threads(), 3);
  ASSERT_OK_AND_ASSIGN(const AdmitResult second, Admit(plan, "again"));
  const FakeRank other = Attach(second.job.id(), 0);
  EXPECT_FALSE(other.channel->messages[0].welcome().measure_device());
}

TEST_F(JobSchedulerTest, OnlyTheNewestEventsOfAJobAreKept) {
  KillScheduler();
  policy_.kept_events = 10;
  StartScheduler();
  ASSERT_OK_AND_ASSIGN(const AdmitResult result, Admit(MakePlan()));
  RunToEnd(result.job.id(), {Attach(result.job.id(), 0), Attach(result.job.id(), 1)}, 0, 40);
  const auto page = Read<store::EventPage>([&](auto& transaction) {
    return store_->ReadEvents(transaction, result.job.id(), 0, 10000);
  });
  EXPECT_TRUE(page.compacted);
  EXPECT_GT(page.oldest_sequence, 20);
  EXPECT_LT(page.tail_sequence - page.oldest_sequence, 20);
  EXPECT_EQ(Stored(result.job.id()).state(), v1::SUCCEEDED);
  EXPECT_EQ(Stored(result.job.id()).history_size(), 4) << "what led to its state is kept";
}

// A job whose noise changes and whose epochs are charged as one, from admission to its end.
TEST_F(JobSchedulerTest, EpsilonOfEpochsFollowsWhatTheLedgerCommitted) {
  v1::JobPlan plan = MakePlan(40, 1);
  v1::PrivacyPlan& privacy = *plan.mutable_privacy();
  privacy.set_sampling_rate(1);
  privacy.mutable_sampler()->set_kind(v1::SamplerPlan::SHUFFLED);
  privacy.mutable_sampler()->set_steps_per_epoch(10);
  privacy.clear_segments();
  for (const int64_t first_step : {0, 20}) {
    v1::NoiseSegment& segment = *privacy.add_segments();
    segment.set_first_step(first_step);
    segment.set_noise_multiplier(first_step == 0 ? 6 : 4);
    segment.set_charged_steps(2);  // epochs
    const auto charge = accounting::ChargeOf({1, segment.noise_multiplier()}, 0);
    ASSERT_OK(charge);
    for (const int64_t units : charge->units) segment.add_step_charge(units);
  }
  privacy.set_charged_steps(4);
  ASSERT_OK_AND_ASSIGN(const AdmitResult result, Admit(plan));
  const std::string job = result.job.id();
  RunToEnd(job, {Attach(job, 0)}, 0, 40);
  EXPECT_EQ(AccountOf(job).committed_by_segment, (std::vector<int64_t>{2, 2}));
  std::vector<double> epsilons;
  for (const v1::JobEvent& event : Events(job)) {
    if (event.has_step()) epsilons.push_back(event.step().epsilon());
  }
  ASSERT_THAT(epsilons, SizeIs(40));
  // It rises with the first step of an epoch and stays until the next.
  for (int step = 1; step < 40; ++step) {
    EXPECT_EQ(epsilons[step] > epsilons[step - 1], step % 10 == 0) << step;
  }
  // All four epochs are one Gaussian mechanism: delta at the last epsilon, by its formula.
  const double mu = std::sqrt(2 / 36.0 + 2 / 16.0);
  const double e = epsilons.back();
  const auto cdf = [](double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); };
  EXPECT_NEAR((cdf(mu / 2 - e / mu) - std::exp(e) * cdf(-mu / 2 - e / mu)) / 0.99e-6, 1, 1e-6);
  ExpectLedgerIsSound();
}

TEST_F(JobSchedulerTest, GrantIsInTheLedgerBeforeItIsSent) {
  ASSERT_OK_AND_ASSIGN(const AdmitResult result, Admit(MakePlan()));
  const std::string job = result.job.id();
  // Looks into the ledger, from another connection, at the moment of sending.
  class LookingChannel : public WorkerChannel {
   public:
    explicit LookingChannel(std::function<int64_t()> committed)
        : committed_(std::move(committed)) {}
    void Send(const v1::CoordinatorMessage& message) override {
      if (!message.has_grant()) return;
      ++grants;
      EXPECT_GE(committed_(), message.grant().end_step());
    }
    void Close(const absl::Status&) override {}
    int grants = 0;

   private:
    std::function<int64_t()> committed_;
  };
  FakeRank zero = Attach(job, 0);
  const auto looking = std::make_shared<LookingChannel>([&] { return AccountOf(job).committed; });
  v1::Hello hello;
  hello.set_protocol_version(1);
  hello.set_job(job);
  hello.set_attempt(1);
  hello.set_rank(1);
  hello.set_attempt_token(LaunchOf(job).token);
  scheduler_->Attach(hello, looking);
  Pump();
  Ask(zero, 0);
  Ask(zero, 10);
  EXPECT_EQ(looking->grants, 2);
}

TEST_F(JobSchedulerTest, SlotsAreGivenInOrderAndToWholeGangs) {
  ASSERT_OK_AND_ASSIGN(const AdmitResult one, Admit(MakePlan(40, 1)));
  ASSERT_OK_AND_ASSIGN(const AdmitResult two, Admit(MakePlan(40, 2)));
  ASSERT_OK_AND_ASSIGN(const AdmitResult three, Admit(MakePlan(40, 1)));
  EXPECT_EQ(Stored(one.job.id()).state(), v1::STARTING);
  EXPECT_EQ(Stored(two.job.id()).state(), v1::QUEUED) << "two ranks do not fit one slot";
  EXPECT_EQ(Stored(three.job.id()).state(), v1::QUEUED) << "it would overtake";
  EXPECT_EQ(scheduler_->Slots().slots_in_use, 1);
  RunToEnd(one.job.id(), {Attach(one.job.id(), 0)}, 0, 40);
  EXPECT_EQ(Stored(two.job.id()).state(), v1::STARTING);
  EXPECT_EQ(Stored(three.job.id()).state(), v1::QUEUED);
  EXPECT_EQ(fake_launcher_.num_alive(), 2);
}

TEST_F(JobSchedulerTest, CancelledWhileQueuedReleasesItsReservation) {
  ASSERT_OK(Admit(MakePlan(40, 2)));
  ASSERT_OK_AND_ASSIGN(const AdmitResult waiting, Admit(MakePlan(40, 2)));
  ASSERT_OK_AND_ASSIGN(const v1::Job cancelled, Cancel(waiting.job.id()));
  EXPECT_EQ(cancelled.state(), v1::CANCELLED);
  EXPECT_TRUE(AccountOf(waiting.job.id()).settled);
  EXPECT_THAT(Cancel(waiting.job.id()), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(Cancel("job-99"), StatusIs(absl::StatusCode::kNotFound));
}

}  // namespace
}  // namespace sotto::scheduler
