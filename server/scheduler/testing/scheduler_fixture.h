// A scheduler over the real store and ledger and a fake launcher, for tests.
#ifndef SOTTO_SERVER_SCHEDULER_TESTING_SCHEDULER_FIXTURE_H_
#define SOTTO_SERVER_SCHEDULER_TESTING_SCHEDULER_FIXTURE_H_

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
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
#include "server/scheduler/job_scheduler.h"
#include "server/scheduler/testing/answer.h"
#include "server/store/job_store_schema.h"
#include "server/store/sqlite_job_store.h"

namespace sotto::scheduler {

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

class SchedulerFixture : public ::testing::Test {
 protected:
  SchedulerFixture()
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
    options.policy = policy_;
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
    v1::NoiseSegment& segment = *privacy.add_segments();
    segment.set_noise_multiplier(1);
    segment.set_charged_steps(privacy.charged_steps());
    for (const int64_t units : charge->units) segment.add_step_charge(units);
    plan.mutable_train()->set_steps(steps);
    plan.mutable_train()->set_steps_per_grant(10);
    plan.mutable_train()->set_checkpoint_every_steps(20);
    plan.mutable_train()->set_checkpoint_keep(2);
    plan.mutable_sharding()->set_world_size(world_size);
    return plan;
  }

  absl::StatusOr<AdmitResult> Admit(v1::JobPlan plan, std::string request_id = "",
                                    absl::Status unless_known = absl::OkStatus()) {
    Answer<absl::StatusOr<AdmitResult>> answer;
    scheduler_->Admit({.plan = std::move(plan),
                       .request_id = std::move(request_id),
                       .unless_known = std::move(unless_known)},
                      [&](auto given) { answer.Set(std::move(given)); });
    Pump();
    absl::StatusOr<AdmitResult> result = answer.Await();
    Pump();
    return result;
  }
  absl::StatusOr<v1::Job> Cancel(const std::string& job) {
    absl::StatusOr<v1::Job> result = absl::UnknownError("no answer");
    scheduler_->Cancel(job, [&](auto answer) { result = std::move(answer); });
    Pump();
    return result;
  }

  absl::StatusOr<v1::Job> Pause(const std::string& job) {
    absl::StatusOr<v1::Job> result = absl::UnknownError("no answer");
    scheduler_->Pause(job, [&](auto answer) { result = std::move(answer); });
    Pump();
    return result;
  }
  // By the job's own plan on so many ranks.
  absl::StatusOr<v1::Job> Resume(const std::string& job, int world_size) {
    const v1::Job stored = Stored(job);
    ResumeRequest request{job, stored.plan(), stored.history_size()};
    request.plan.mutable_sharding()->set_world_size(world_size);
    request.plan.mutable_spec()->mutable_workers()->set_count(world_size);
    absl::StatusOr<v1::Job> result = absl::UnknownError("no answer");
    scheduler_->Resume(std::move(request), [&](auto answer) { result = std::move(answer); });
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
  void FinishAll(const std::string& job, const std::vector<FakeRank>& ranks, int64_t steps,
                 v1::Finished::Outcome outcome = v1::Finished::DONE) {
    for (const FakeRank& rank : ranks) {
      v1::WorkerMessage message;
      message.mutable_finished()->set_outcome(outcome);
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

  Policy policy_;  // of the next StartScheduler
  SimulatedClock clock_;
  database::TestDatabase database_;
  ledger::SqliteLedger ledger_;
  std::unique_ptr<store::SqliteJobStore> store_;
  launcher::FakeLauncher fake_launcher_;
  std::unique_ptr<JobScheduler> scheduler_;
};

}  // namespace sotto::scheduler

#endif  // SOTTO_SERVER_SCHEDULER_TESTING_SCHEDULER_FIXTURE_H_
