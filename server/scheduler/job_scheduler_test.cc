#include "server/scheduler/job_scheduler.h"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "common/base/clock.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/base/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/accounting/charge.h"
#include "server/database/testing/test_database.h"
#include "server/launcher/testing/fake_launcher.h"
#include "server/ledger/ledger_schema.h"
#include "server/ledger/sqlite_ledger.h"
#include "server/store/job_store_schema.h"
#include "server/store/sqlite_job_store.h"

namespace sotto::scheduler {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

// One launcher for several lives of the scheduler, each of which owns one of these.
class LauncherHandle : public launcher::Launcher {
 public:
  explicit LauncherHandle(launcher::FakeLauncher& launcher) : launcher_(launcher) {}
  absl::StatusOr<std::vector<launcher::WorkerProcess>> Launch(
      const launcher::LaunchRequest& request) override {
    return launcher_.Launch(request);
  }
  void Adopt(const launcher::LaunchRequest& request,
             const std::vector<launcher::WorkerProcess>& processes) override {
    launcher_.Adopt(request, processes);
  }
  absl::Status Signal(const launcher::WorkerProcess& process, int signal) override {
    return launcher_.Signal(process, signal);
  }

 private:
  launcher::FakeLauncher& launcher_;
};

class FakeChannel : public WorkerChannel {
 public:
  void Send(const v1::CoordinatorMessage& message) override { messages.push_back(message); }
  void Close(const absl::Status& status) override { closed.push_back(status); }

  std::vector<v1::CoordinatorMessage> messages;
  std::vector<absl::Status> closed;
};

// A rank that does as it is told.
struct FakeRank {
  Scheduler::StreamId stream = 0;
  std::shared_ptr<FakeChannel> channel = std::make_shared<FakeChannel>();
};

class JobSchedulerTest : public ::testing::Test {
 protected:
  JobSchedulerTest()
      : database_({store::JobStoreSchema(), ledger::LedgerSchema()}),
        store_(std::make_unique<store::SqliteJobStore>(*database_)),
        fake_launcher_([](const launcher::WorkerExit&) {}) {}

  void SetUp() override {
    v1::Dataset dataset;
    dataset.set_name("data");
    dataset.set_path("/data");
    dataset.set_sha256(std::string(64, 'a'));
    dataset.set_max_records(1000);
    dataset.set_vocabulary_size(257);
    dataset.set_max_length(64);
    dataset.set_budgeted(true);
    dataset.mutable_budget()->set_epsilon(8);
    dataset.mutable_budget()->set_delta(1e-6);
    dataset.mutable_budget()->set_adjacency("add_or_remove_one");
    dataset.mutable_budget()->set_privacy_unit("record");
    ASSERT_OK(database_->SubmitAndWait([&](database::Transaction& transaction) {
      return ledger_.RegisterDataset(transaction, dataset);
    }));
    StartScheduler();
  }

  void StartScheduler(int slots = 2) {
    JobScheduler::Options options;
    options.slots = slots;
    options.run_root = "/state";
    options.coordinator_address = "unix:/tmp/x/socket";
    options.clock = &clock_;
    options.queue = &*database_;
    options.store = store_.get();
    options.ledger = &ledger_;
    options.make_launcher = [this](launcher::Launcher::ExitCallback on_exit)
        -> absl::StatusOr<std::unique_ptr<launcher::Launcher>> {
      fake_launcher_.LoseCoordinator(std::move(on_exit));
      return std::make_unique<LauncherHandle>(fake_launcher_);
    };
    ASSERT_OK_AND_ASSIGN(scheduler_, JobScheduler::Create(std::move(options)));
    Pump();
  }

  // Inputs may cause others: a kill causes an exit.
  void Pump() {
    for (int i = 0; i < 3; ++i) scheduler_->RunOnce();
  }

  // As kill -9 of the coordinator: nothing is said to anyone.
  void KillScheduler() {
    fake_launcher_.LoseCoordinator([](const launcher::WorkerExit&) {});
    scheduler_ = nullptr;
    store_ = nullptr;
    database_.Reopen();
    store_ = std::make_unique<store::SqliteJobStore>(*database_);
  }

  static v1::JobPlan MakePlan(int64_t steps = 40, int world_size = 2, int64_t charged_steps = 0) {
    v1::JobPlan plan;
    plan.set_protocol_version(1);
    plan.mutable_spec()->set_name("tiny");
    plan.mutable_dataset()->set_name("data");
    plan.mutable_dataset()->set_budgeted(true);
    v1::PrivacyPlan& privacy = *plan.mutable_privacy();
    privacy.set_sampling_rate(0.01);
    privacy.set_noise_multiplier(1);
    privacy.set_accounting_delta(0.99e-6);
    privacy.set_planned_steps(steps);
    privacy.set_charged_steps(charged_steps == 0 ? steps : charged_steps);
    const auto charge = accounting::ChargeOf({0.01, 1}, 0);
    EXPECT_OK(charge);
    for (const int64_t units : charge->units) privacy.add_step_charge(units);
    plan.mutable_train()->set_steps(steps);
    plan.mutable_train()->set_steps_per_grant(10);
    plan.mutable_train()->set_checkpoint_every_steps(10);
    plan.mutable_train()->set_checkpoint_keep(2);
    plan.mutable_sharding()->set_world_size(world_size);
    return plan;
  }

  absl::StatusOr<AdmitResult> Admit(v1::JobPlan plan, std::string request_id = "") {
    absl::Notification done;
    absl::StatusOr<AdmitResult> result = absl::UnknownError("no answer");
    scheduler_->Admit({std::move(plan), std::move(request_id)}, [&](auto answer) {
      result = std::move(answer);
      done.Notify();
    });
    Pump();
    done.WaitForNotification();
    Pump();
    return result;
  }
  absl::StatusOr<v1::Job> Cancel(const std::string& job) {
    absl::StatusOr<v1::Job> result = absl::UnknownError("no answer");
    scheduler_->Cancel(job, [&](auto answer) { result = std::move(answer); });
    Pump();
    return result;
  }

  FakeRank Attach(const std::string& job, int rank, int64_t next_step = -1) {
    const launcher::LaunchRequest request = LaunchOf(job);
    FakeRank fake;
    v1::Hello hello;
    hello.set_protocol_version(1);
    hello.set_job(job);
    hello.set_attempt(request.attempt);
    hello.set_rank(rank);
    hello.set_attempt_token(request.token);
    hello.set_next_step(next_step);
    fake.stream = scheduler_->Attach(hello, fake.channel);
    Pump();
    return fake;
  }
  launcher::LaunchRequest LaunchOf(const std::string& job) const {
    launcher::LaunchRequest last;
    for (const auto& request : fake_launcher_.launches()) {
      if (request.job == job) last = request;
    }
    return last;
  }
  void Ask(const FakeRank& rank, int64_t first_step) {
    v1::WorkerMessage message;
    message.mutable_grant_request()->set_first_step(first_step);
    scheduler_->Receive(rank.stream, message);
    Pump();
  }
  void Report(const FakeRank& rank, const std::string& job, int64_t first, int64_t end) {
    for (int64_t step = first; step < end; ++step) {
      v1::WorkerMessage message;
      message.mutable_report()->set_step(step);
      message.mutable_report()->set_attempt(LaunchOf(job).attempt);
      scheduler_->Receive(rank.stream, message);
    }
    Pump();
  }
  void FinishAll(const std::string& job, const std::vector<FakeRank>& ranks, int64_t steps) {
    for (const FakeRank& rank : ranks) {
      v1::WorkerMessage message;
      message.mutable_finished()->set_outcome(v1::Finished::DONE);
      message.mutable_finished()->set_started_steps(steps);
      message.mutable_finished()->set_completed_steps(steps);
      scheduler_->Receive(rank.stream, message);
    }
    Pump();
    for (size_t rank = 0; rank < ranks.size(); ++rank) {
      fake_launcher_.Exit(job, LaunchOf(job).attempt, rank, launcher::WorkerExit::Kind::kExited, 0);
    }
    Pump();
  }
  // All steps of a job whose ranks just attached.
  void RunToEnd(const std::string& job, const std::vector<FakeRank>& ranks, int64_t first,
                int64_t steps) {
    Ask(ranks[0], first);
    for (int64_t step = first; step < steps; step += 10) {
      Report(ranks[0], job, step, step + 5);
      if (step + 10 < steps) Ask(ranks[0], step + 10);
      Report(ranks[0], job, step + 5, step + 10);
    }
    FinishAll(job, ranks, steps);
  }

  template <typename T>
  T Read(std::function<absl::StatusOr<T>(database::Transaction&)> read) {
    T value;
    EXPECT_OK(database_->ReadAndWait([&](database::Transaction& transaction) -> absl::Status {
      ASSIGN_OR_RETURN(value, read(transaction));
      return absl::OkStatus();
    }));
    return value;
  }
  v1::Job Stored(const std::string& job) {
    return Read<v1::Job>([&](auto& transaction) { return store_->GetJob(transaction, job); });
  }
  ledger::Account AccountOf(const std::string& job) {
    return Read<ledger::Account>(
        [&](auto& transaction) { return ledger_.GetAccount(transaction, job); });
  }
  std::vector<v1::JobEvent> Events(const std::string& job) {
    return Read<store::EventPage>(
               [&](auto& transaction) { return store_->ReadEvents(transaction, job, 0, 10000); })
        .events;
  }
  void ExpectLedgerIsSound() {
    EXPECT_OK(database_->ReadAndWait(
        [&](database::Transaction& transaction) { return ledger_.Verify(transaction).status(); }));
  }

  SimulatedClock clock_;
  database::TestDatabase database_;
  ledger::SqliteLedger ledger_;
  std::unique_ptr<store::SqliteJobStore> store_;
  launcher::FakeLauncher fake_launcher_;
  std::unique_ptr<JobScheduler> scheduler_;
};

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

TEST_F(JobSchedulerTest, RerunStepsArePaidUntilTheReservationIsUsedUp) {
  ASSERT_OK_AND_ASSIGN(const AdmitResult result, Admit(MakePlan(40, 2, 45)));
  const std::string job = result.job.id();
  std::vector<FakeRank> ranks = {Attach(job, 0), Attach(job, 1)};
  Ask(ranks[0], 0);
  Report(ranks[0], job, 0, 6);
  Ask(ranks[0], 10);
  fake_launcher_.Exit(job, 1, 1, launcher::WorkerExit::Kind::kSignalled, 9);
  Pump();
  EXPECT_EQ(fake_launcher_.num_alive(), 0);
  EXPECT_EQ(AccountOf(job).committed, 20) << "nobody knows what was started";
  clock_.Advance(absl::Minutes(1));
  Pump();
  EXPECT_EQ(LaunchOf(job).attempt, 2);

  ranks = {Attach(job, 0), Attach(job, 1)};
  Ask(ranks[0], 0);
  Report(ranks[0], job, 0, 6);
  Ask(ranks[0], 10);
  Report(ranks[0], job, 6, 16);
  Ask(ranks[0], 20);
  Report(ranks[0], job, 16, 21);
  EXPECT_EQ(AccountOf(job).committed, 45);
  Ask(ranks[0], 25);
  EXPECT_EQ(ranks[1].channel->messages.back().stop().mode(), v1::Stop::FINISH);
  ExpectLedgerIsSound();
}

TEST_F(JobSchedulerTest, CoordinatorThatComesBackGoesOnWithLiveWorkers) {
  ASSERT_OK_AND_ASSIGN(const AdmitResult result, Admit(MakePlan()));
  const std::string job = result.job.id();
  std::vector<FakeRank> ranks = {Attach(job, 0), Attach(job, 1)};
  Ask(ranks[0], 0);
  Report(ranks[0], job, 0, 3);
  KillScheduler();
  StartScheduler();
  EXPECT_EQ(fake_launcher_.num_alive(), 2);
  ranks = {Attach(job, 0, 4), Attach(job, 1, 4)};
  EXPECT_EQ(ranks[0].channel->messages[1].grant().end_step(), 10);
  Report(ranks[0], job, 2, 10);  // step 2 was sent again: its acknowledgement was lost
  Ask(ranks[0], 10);
  RunToEnd(job, ranks, 10, 40);
  EXPECT_EQ(Stored(job).state(), v1::SUCCEEDED);
  EXPECT_EQ(Stored(job).attempt(), 1);
  EXPECT_EQ(AccountOf(job).committed, 40);
  int64_t reports = 0;
  for (const v1::JobEvent& event : Events(job)) reports += event.has_step();
  EXPECT_EQ(reports, 40);
}

TEST_F(JobSchedulerTest, WorkersThatDoNotComeBackAreReplaced) {
  ASSERT_OK_AND_ASSIGN(const AdmitResult result, Admit(MakePlan(40, 2, 60)));
  const std::string job = result.job.id();
  std::vector<FakeRank> ranks = {Attach(job, 0), Attach(job, 1)};
  Ask(ranks[0], 0);
  KillScheduler();
  StartScheduler();
  Attach(job, 0, 4);
  clock_.Advance(Policy().reattach_grace);
  Pump();
  Pump();
  EXPECT_EQ(LaunchOf(job).attempt, 2);
  EXPECT_EQ(fake_launcher_.num_alive(), 2);
  ranks = {Attach(job, 0), Attach(job, 1)};
  RunToEnd(job, ranks, 0, 40);
  EXPECT_EQ(Stored(job).state(), v1::SUCCEEDED);
  EXPECT_EQ(Stored(job).restarts(), 0);
  EXPECT_EQ(AccountOf(job).committed, 50);
}

TEST_F(JobSchedulerTest, QueuedJobsSurviveTheCoordinator) {
  ASSERT_OK_AND_ASSIGN(const AdmitResult first, Admit(MakePlan()));
  ASSERT_OK_AND_ASSIGN(const AdmitResult second, Admit(MakePlan()));
  KillScheduler();
  StartScheduler(/*slots=*/4);
  EXPECT_EQ(Stored(second.job.id()).state(), v1::STARTING);
}

TEST_F(JobSchedulerTest, SecretAndTokenAreNowhereInTheDatabase) {
  ASSERT_OK_AND_ASSIGN(const AdmitResult result, Admit(MakePlan(40, 1)));
  FakeRank rank = Attach(result.job.id(), 0);
  const std::string secret = rank.channel->messages[0].welcome().secret();
  const std::string token = LaunchOf(result.job.id()).token;
  ASSERT_EQ(secret.size(), 32);
  ASSERT_EQ(token.size(), 64);
  scheduler_ = nullptr;
  database_.Close();
  for (const std::string suffix : {"", "-wal"}) {
    const absl::StatusOr<std::string> bytes = ReadFile(database_.path() + suffix);
    if (!bytes.ok()) continue;  // Closing may remove the WAL.
    EXPECT_THAT(*bytes, Not(HasSubstr(secret)));
    EXPECT_THAT(*bytes, Not(HasSubstr(token)));
  }
}

TEST_F(JobSchedulerTest, OldCheckpointsAreForgotten) {
  ASSERT_OK_AND_ASSIGN(const AdmitResult result, Admit(MakePlan(40, 1)));
  const std::string job = result.job.id();
  FakeRank rank = Attach(job, 0);
  Ask(rank, 0);
  for (const int64_t step : {2, 4, 6}) {
    v1::WorkerMessage message;
    message.mutable_checkpoint_done()->set_step(step);
    message.mutable_checkpoint_done()->set_path(absl::StrCat("/state/step-", step));
    scheduler_->Receive(rank.stream, message);
  }
  Pump();
  EXPECT_EQ(Stored(job).checkpoint_step(), 6);
  const auto checkpoints = Read<std::vector<store::CheckpointRecord>>(
      [&](auto& transaction) { return store_->ListCheckpoints(transaction, job); });
  EXPECT_THAT(checkpoints, SizeIs(2));
}

TEST_F(JobSchedulerTest, StewardViewIsOnTheJobAndInTheLedger) {
  ASSERT_OK_AND_ASSIGN(const AdmitResult result, Admit(MakePlan(40, 1)));
  absl::Status answer = absl::UnknownError("no answer");
  scheduler_->RecordStewardView(result.job.id(), "logs", [&](auto status) { answer = status; });
  Pump();
  EXPECT_OK(answer);
  RunToEnd(result.job.id(), {Attach(result.job.id(), 0)}, 0, 40);
  EXPECT_TRUE(Stored(result.job.id()).steward_viewed()) << "later changes must keep the mark";
}

TEST_F(JobSchedulerTest, DrainingCoordinatorAdmitsNothingAndStartsNothing) {
  ASSERT_OK(Admit(MakePlan(40, 2)));
  ASSERT_OK_AND_ASSIGN(const AdmitResult waiting, Admit(MakePlan(40, 2)));
  scheduler_->Drain();
  Pump();
  EXPECT_THAT(Admit(MakePlan()), StatusIs(absl::StatusCode::kUnavailable));
  RunToEnd("job-1", {Attach("job-1", 0), Attach("job-1", 1)}, 0, 40);
  EXPECT_EQ(Stored("job-1").state(), v1::SUCCEEDED) << "live ones go on";
  EXPECT_EQ(Stored(waiting.job.id()).state(), v1::QUEUED);
}

TEST_F(JobSchedulerTest, FailedLaunchIsTriedAgain) {
  fake_launcher_.FailNextLaunch(absl::ResourceExhaustedError("no memory"));
  ASSERT_OK_AND_ASSIGN(const AdmitResult result, Admit(MakePlan()));
  EXPECT_EQ(Stored(result.job.id()).state(), v1::RECOVERING);
  EXPECT_THAT(Stored(result.job.id()).message(), HasSubstr("no memory"));
  clock_.Advance(absl::Minutes(1));
  Pump();
  EXPECT_EQ(Stored(result.job.id()).state(), v1::STARTING);
}

}  // namespace
}  // namespace sotto::scheduler
