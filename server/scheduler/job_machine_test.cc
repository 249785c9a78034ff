#include "server/scheduler/job_machine.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/scheduler/transitions.h"

namespace sotto::scheduler {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Outcome = launcher::ExitRecord::Outcome;

constexpr int kProtocol = 7;

v1::Job QueuedJob(int world_size) {
  v1::Job job;
  job.set_id("job-1");
  job.set_state(v1::QUEUED);
  job.mutable_plan()->set_protocol_version(kProtocol);
  job.mutable_plan()->mutable_sharding()->set_world_size(world_size);
  job.mutable_plan()->mutable_train()->set_steps(100);
  job.mutable_plan()->mutable_train()->set_steps_per_grant(10);
  job.mutable_plan()->mutable_train()->set_checkpoint_every_steps(10);
  return job;
}

// A machine and the world around it: executes effects by writing them down, answers what must be
// answered.
class World {
 public:
  explicit World(int world_size = 2, Policy policy = {})
      : machine_(QueuedJob(world_size), policy, "/state",
                 [](int64_t releases) { return 0.5 * releases; }) {}
  explicit World(v1::Job job)
      : machine_(std::move(job), {}, "/state", [](int64_t releases) { return 0.5 * releases; }) {}

  JobMachine* operator->() { return &machine_; }

  // Executes until there is nothing left to do.
  void Settle() {
    while (std::optional<Effect> effect = machine_.TakeEffect()) {
      if (auto* send = std::get_if<Send>(&*effect)) sent.push_back(*send);
      if (auto* close = std::get_if<Close>(&*effect)) closed.push_back(*close);
      if (auto* kill = std::get_if<Kill>(&*effect)) killed.push_back(kill->process.rank);
      if (auto* persist = std::get_if<Persist>(&*effect)) Keep(*persist);
      if (auto* start = std::get_if<StartAttempt>(&*effect)) Launch(*start);
      if (auto* grant = std::get_if<CommitGrant>(&*effect)) {
        const int64_t steps = std::min(grant->end_step - grant->first_step, reservation);
        reservation -= steps;
        machine_.OnGrantCommitted(*grant, {grant->first_step, grant->first_step + steps}, now);
      }
    }
  }

  // To RUNNING, with rank r on stream StreamOf(r).
  void Run() {
    if (machine_.job().state() == v1::QUEUED) machine_.GiveSlots(now);
    Settle();
    for (int rank = 0; rank < machine_.world_size(); ++rank) Attach(rank, -1);
  }

  Scheduler::StreamId StreamOf(int rank) const {
    return 100 * machine_.attempt().number + rank + 1;
  }

  void Attach(int rank, int64_t next_step, int64_t attempt = 0, int protocol = kProtocol,
              const std::string& token = "", Scheduler::StreamId stream = 0) {
    v1::Hello hello;
    hello.set_protocol_version(protocol);
    hello.set_attempt(attempt == 0 ? machine_.attempt().number : attempt);
    hello.set_rank(rank);
    hello.set_next_step(next_step);
    machine_.OnHello(hello, token.empty() ? machine_.attempt().token_sha256 : token,
                     stream == 0 ? StreamOf(rank) : stream, now);
    Settle();
  }

  void Say(int rank, const v1::WorkerMessage& message) {
    machine_.OnMessage(StreamOf(rank), message, now);
    Settle();
  }
  void AskForGrant(int64_t first_step) {
    v1::WorkerMessage message;
    message.mutable_grant_request()->set_first_step(first_step);
    Say(0, message);
  }
  void Report(int64_t step) {
    v1::WorkerMessage message;
    message.mutable_report()->set_step(step);
    message.mutable_report()->set_attempt(machine_.attempt().number);
    Say(0, message);
  }
  void Finish(int rank, v1::Finished::Outcome outcome, int64_t started,
              v1::StateReason reason = v1::STATE_REASON_UNSPECIFIED) {
    v1::WorkerMessage message;
    message.mutable_finished()->set_outcome(outcome);
    message.mutable_finished()->set_started_steps(started);
    message.mutable_finished()->set_completed_steps(started);
    message.mutable_finished()->set_reason(reason);
    Say(rank, message);
  }
  void Exit(int rank, launcher::WorkerExit::Kind kind = launcher::WorkerExit::Kind::kSignalled,
            int code = 9) {
    machine_.OnExit({"job-1", machine_.attempt().number, rank, kind, code, std::nullopt}, now);
    Settle();
  }
  void Pass(absl::Duration duration) {
    now += duration;
    machine_.Tick(now);
    Settle();
  }

  std::vector<v1::JobState> States() const {
    std::vector<v1::JobState> states;
    for (const auto& change : machine_.job().history()) states.push_back(change.state());
    return states;
  }
  template <typename Predicate>
  int CountSent(Predicate predicate) const {
    return std::count_if(sent.begin(), sent.end(),
                         [&](const Send& send) { return predicate(send.message); });
  }

  absl::Time now = absl::FromUnixSeconds(1000000);
  int64_t reservation = 1000;  // steps that the ledger still grants
  std::vector<Send> sent;
  std::vector<Close> closed;
  std::vector<int> killed;
  std::vector<v1::JobEvent> events;
  std::vector<Persist> persisted;  // without events
  int attempts = 0;

 private:
  void Keep(Persist persist) {
    for (v1::JobEvent& event : persist.events) events.push_back(std::move(event));
    persist.events.clear();
    if (persist.then.has_value()) sent.push_back(*persist.then);
    persisted.push_back(std::move(persist));
  }
  void Launch(const StartAttempt& start) {
    Keep(start.persist);
    ++attempts;
    machine_.SetCredentials("token", absl::StrCat("hash", attempts), "secret", 0);
    std::vector<launcher::WorkerProcess> processes;
    for (int rank = 0; rank < machine_.world_size(); ++rank) {
      processes.push_back({rank, 10 * attempts + rank, 1, "boot"});
    }
    machine_.OnLaunched(processes, now);
  }

  JobMachine machine_;
};

TEST(TransitionsTest, NoneLeavesATerminalStateAndAllStatesAreReachable) {
  std::vector<v1::JobState> reached = {v1::QUEUED};
  for (const Transition& transition : kTransitions) {
    EXPECT_FALSE(IsTerminal(transition.from));
    EXPECT_NE(std::find(reached.begin(), reached.end(), transition.from), reached.end())
        << v1::JobState_Name(transition.from) << " is left before any line reaches it";
    reached.push_back(transition.to);
  }
  for (const v1::JobState state : {v1::SUCCEEDED, v1::FAILED, v1::CANCELLED}) {
    EXPECT_NE(std::find(reached.begin(), reached.end(), state), reached.end());
  }
}

TEST(PolicyTest, BackoffDoublesUpToItsLimit) {
  Policy policy;
  policy.first_backoff = absl::Seconds(1);
  policy.max_backoff = absl::Seconds(5);
  EXPECT_EQ(Backoff(policy, 1), absl::Seconds(1));
  EXPECT_EQ(Backoff(policy, 3), absl::Seconds(4));
  EXPECT_EQ(Backoff(policy, 1000), absl::Seconds(5));
}

TEST(PolicyTest, GrantCoversItsLengthWithinCheckpointsAndTheJob) {
  Policy policy;
  v1::TrainPlan train;
  train.set_steps(1000);
  train.set_checkpoint_every_steps(50);
  train.set_steps_per_grant(7);
  EXPECT_EQ(GrantSteps(policy, train, /*seconds_per_step=*/0, 0), 7);
  EXPECT_EQ(GrantSteps(policy, train, /*seconds_per_step=*/0.1, 0), 20);
  EXPECT_EQ(GrantSteps(policy, train, /*seconds_per_step=*/0.001, 0), 50);
  EXPECT_EQ(GrantSteps(policy, train, /*seconds_per_step=*/60, 0), 1);
  EXPECT_EQ(GrantSteps(policy, train, /*seconds_per_step=*/0.001, 990), 10);
}

TEST(JobMachineTest, RunsFromQueueToSuccess) {
  World world;
  world.Run();
  EXPECT_EQ(world->job().state(), v1::RUNNING);
  int64_t step = 0;
  world.AskForGrant(0);
  for (int64_t end = 10; end <= 100; end += 10) {
    for (; step < end - 5; ++step) world.Report(step);
    if (end < 100) world.AskForGrant(end);
    for (; step < end; ++step) world.Report(step);
  }
  for (int rank : {0, 1}) world.Finish(rank, v1::Finished::DONE, 100);
  EXPECT_EQ(world->job().state(), v1::RUNNING) << "a process is still there";
  for (int rank : {0, 1}) world.Exit(rank, launcher::WorkerExit::Kind::kExited, 0);
  EXPECT_THAT(world.States(), ElementsAre(v1::STARTING, v1::RUNNING, v1::SUCCEEDED));
  EXPECT_EQ(world->job().reason(), v1::STEPS_DONE);
  EXPECT_EQ(world->job().completed_steps(), 100);
  EXPECT_EQ(world.reservation, 900);
  EXPECT_TRUE(world.persisted.back().settle);
  EXPECT_EQ(world.persisted.back().return_from, 100);
  EXPECT_THAT(world.killed, IsEmpty());
}

TEST(JobMachineTest, WelcomeCarriesPlanSecretAndEnd) {
  World world(1);
  world.Run();
  ASSERT_THAT(world.sent, SizeIs(1));
  const v1::Welcome& welcome = world.sent[0].message.welcome();
  EXPECT_EQ(welcome.secret(), "secret");
  EXPECT_EQ(welcome.end_step(), 100);
  EXPECT_EQ(welcome.checkpoint_directory(), "/state/jobs/job-1/checkpoints");
  EXPECT_EQ(welcome.plan().protocol_version(), kProtocol);
}

TEST(JobMachineTest, GrantGoesToAllRanksOnceItIsCommitted) {
  World world;
  world.Run();
  world.sent.clear();
  world.AskForGrant(0);
  ASSERT_THAT(world.sent, SizeIs(2));
  for (const Send& send : world.sent) {
    EXPECT_EQ(send.message.grant().first_step(), 0);
    EXPECT_EQ(send.message.grant().end_step(), 10);
    EXPECT_EQ(send.message.grant().attempt(), 1);
  }
}

TEST(JobMachineTest, NoGrantBeforeAllRanksAttached) {
  World world;
  world->GiveSlots(world.now);
  world.Settle();
  world.Attach(0, -1);
  world.AskForGrant(0);
  EXPECT_EQ(world.reservation, 1000);
  world.Attach(1, -1);
  EXPECT_EQ(world.reservation, 990);
}

TEST(JobMachineTest, AtMostTwoGrantsAreOutstanding) {
  World world;
  world.Run();
  world.AskForGrant(0);
  world.AskForGrant(10);
  world.AskForGrant(20);
  EXPECT_EQ(world.reservation, 980);
  for (int64_t step = 0; step < 9; ++step) world.Report(step);
  EXPECT_EQ(world.reservation, 980);
  world.Report(9);
  EXPECT_EQ(world.reservation, 970) << "the request waited for the first grant to be used up";
}

TEST(JobMachineTest, RepeatedRequestIsAnsweredWithoutCharge) {
  World world(1);
  world.Run();
  world.AskForGrant(0);
  world.sent.clear();
  world.AskForGrant(0);
  EXPECT_EQ(world.reservation, 990);
  ASSERT_THAT(world.sent, SizeIs(1));
  EXPECT_EQ(world.sent[0].message.grant().end_step(), 10);
}

TEST(JobMachineTest, ReportsGetEpsilonAndAcknowledgement) {
  World world(1);
  world.Run();
  world.AskForGrant(0);
  world.sent.clear();
  world.Report(0);
  world.Report(1);
  EXPECT_EQ(world.events.back().step().epsilon(), 1.0);
  EXPECT_EQ(world->job().epsilon(), 1.0);
  ASSERT_THAT(world.sent, SizeIs(2));
  EXPECT_EQ(world.sent[1].message.ack().step(), 1);
}

TEST(JobMachineTest, ReportsThatComeTogetherAreOneTransaction) {
  World world(1);
  world.Run();
  world.AskForGrant(0);
  const size_t before = world.persisted.size();
  for (int64_t step = 0; step < 5; ++step) {
    v1::WorkerMessage message;
    message.mutable_report()->set_step(step);
    message.mutable_report()->set_attempt(1);
    world->OnMessage(world.StreamOf(0), message, world.now);
  }
  world.Settle();
  EXPECT_EQ(world.persisted.size(), before + 1);
  EXPECT_EQ(world.sent.back().message.ack().step(), 4);
}

TEST(JobMachineTest, ReportOfAStepThatWasNotGrantedEndsTheJob) {
  World world(1);
  world.Run();
  world.AskForGrant(0);
  world.Report(10);
  EXPECT_THAT(world.killed, ElementsAre(0));
  world.Exit(0);
  EXPECT_EQ(world->job().state(), v1::FAILED);
  EXPECT_EQ(world->job().reason(), v1::INTERNAL);
  EXPECT_THAT(world->job().message(), HasSubstr("step 10"));
}

TEST(JobMachineTest, UsedUpReservationIsANormalEnd) {
  World world;
  world.reservation = 15;
  world.Run();
  world.AskForGrant(0);
  for (int64_t step = 0; step < 5; ++step) world.Report(step);
  world.AskForGrant(10);
  for (int64_t step = 5; step < 12; ++step) world.Report(step);
  world.AskForGrant(15);
  EXPECT_EQ(world.CountSent([](const auto& message) {
    return message.has_stop() && message.stop().mode() == v1::Stop::FINISH;
  }),
            2);
  for (int64_t step = 12; step < 15; ++step) world.Report(step);
  for (int rank : {0, 1}) world.Finish(rank, v1::Finished::STOPPED, 15);
  for (int rank : {0, 1}) world.Exit(rank, launcher::WorkerExit::Kind::kExited, 0);
  EXPECT_EQ(world->job().state(), v1::SUCCEEDED);
  EXPECT_EQ(world->job().reason(), v1::BUDGET);
  EXPECT_EQ(world->job().completed_steps(), 15);
}

TEST(JobMachineTest, StreamOfAFinishedRankIsClosedAfterItsReportsAreStored) {
  World world(1);
  world.Run();
  world.AskForGrant(0);
  v1::WorkerMessage report;
  report.mutable_report()->set_step(0);
  report.mutable_report()->set_attempt(1);
  v1::WorkerMessage finished;
  finished.mutable_finished()->set_outcome(v1::Finished::DONE);
  world->OnMessage(world.StreamOf(0), report, world.now);
  world->OnMessage(world.StreamOf(0), finished, world.now);
  const std::optional<Effect> first = world->TakeEffect();
  ASSERT_TRUE(first.has_value() && std::holds_alternative<Persist>(*first));
  world.Settle();
  ASSERT_THAT(world.closed, SizeIs(1));
  EXPECT_OK(world.closed[0].status);
  world.Pass(Policy().reattach_grace);
  EXPECT_EQ(world->job().state(), v1::RUNNING) << "its process has the stop grace to end";
}

TEST(JobMachineTest, LostWorkerTakesTheAttemptDownAndTheNextStartsAfterBackoff) {
  World world;
  world.Run();
  world.AskForGrant(0);
  world.Report(0);
  world.Exit(1);
  EXPECT_EQ(world->job().state(), v1::RECOVERING);
  EXPECT_EQ(world->job().reason(), v1::WORKER_LOST);
  EXPECT_THAT(world.killed, ElementsAre(0));
  world.Pass(absl::Hours(1));
  EXPECT_EQ(world.attempts, 1) << "rank 0 is still there";
  world.Exit(0);
  EXPECT_EQ(world.persisted.back().return_from, std::nullopt) << "not a clean stop";
  EXPECT_FALSE(world.persisted.back().settle);
  EXPECT_EQ(world.attempts, 1);
  world.Pass(world->NextDeadline() - world.now);
  EXPECT_EQ(world.attempts, 2);
  world.Run();
  EXPECT_EQ(world->job().state(), v1::RUNNING);
  EXPECT_EQ(world->job().restarts(), 1);
  EXPECT_EQ(world->job().attempt(), 2);
}

TEST(JobMachineTest, RestartsHaveALimit) {
  Policy policy;
  policy.max_restarts = 2;
  World world(1, policy);
  for (int attempt = 1; attempt <= 3; ++attempt) {
    world.Run();
    world.Exit(0);
    if (attempt < 3) world.Pass(absl::Minutes(2));
  }
  EXPECT_EQ(world.attempts, 3);
  EXPECT_EQ(world->job().state(), v1::FAILED);
  EXPECT_EQ(world->job().reason(), v1::RESTARTS_EXHAUSTED);
  EXPECT_TRUE(world.persisted.back().settle);
}

TEST(JobMachineTest, InvalidDataIsNotTriedAgain) {
  World world;
  world.Run();
  world.Finish(1, v1::Finished::FAILED, 0, v1::INVALID_DATA);
  EXPECT_THAT(world.killed, ElementsAre(0, 1));
  for (int rank : {0, 1}) world.Exit(rank);
  EXPECT_EQ(world->job().state(), v1::FAILED);
  EXPECT_EQ(world->job().reason(), v1::INVALID_DATA);
}

TEST(JobMachineTest, RankThatNeverAttachesIsATimeout) {
  World world;
  world->GiveSlots(world.now);
  world.Settle();
  world.Attach(0, -1);
  world.Pass(world->NextDeadline() - world.now);
  world.Pass(Policy().start_timeout);
  EXPECT_EQ(world->job().state(), v1::RECOVERING);
}

TEST(JobMachineTest, LostStreamHasAGracePeriod) {
  World world;
  world.Run();
  world->OnDetached(world.StreamOf(1), world.now);
  world.Pass(Policy().reattach_grace - absl::Milliseconds(1));
  EXPECT_EQ(world->job().state(), v1::RUNNING);
  world.Pass(absl::Milliseconds(1));
  EXPECT_EQ(world->job().state(), v1::RECOVERING);
  EXPECT_EQ(world->job().reason(), v1::WORKER_LOST);
}

TEST(JobMachineTest, RankThatComesBackGetsItsGrantsAgain) {
  World world(1);
  world.Run();
  world.AskForGrant(0);
  for (int64_t step = 0; step < 6; ++step) world.Report(step);
  world.AskForGrant(10);
  world->OnDetached(world.StreamOf(0), world.now);
  world.sent.clear();
  world.Attach(0, /*next_step=*/12);
  ASSERT_THAT(world.sent, SizeIs(2));
  EXPECT_TRUE(world.sent[0].message.has_welcome());
  EXPECT_EQ(world.sent[1].message.grant().first_step(), 10);
  EXPECT_EQ(world.reservation, 980);
}

TEST(JobMachineTest, SecondStreamOfARankReplacesTheFirst) {
  World world(1);
  world.Run();
  world.Attach(0, 0, 0, kProtocol, "", /*stream=*/999);
  ASSERT_THAT(world.closed, SizeIs(1));
  EXPECT_EQ(world.closed[0].stream, world.StreamOf(0));
  world->OnDetached(world.StreamOf(0), world.now);
  EXPECT_EQ(world->attempt().ranks[0].stream, 999);
}

TEST(JobMachineTest, StrangersAreRefused) {
  World world;
  world.Run();
  world.Attach(0, -1, 0, kProtocol, "wrong token", 900);
  world.Attach(0, -1, /*attempt=*/9, kProtocol, "", 901);
  world.Attach(7, -1, 0, kProtocol, "", 902);
  ASSERT_THAT(world.closed, SizeIs(3));
  EXPECT_TRUE(absl::IsUnauthenticated(world.closed[0].status));
  EXPECT_TRUE(absl::IsAborted(world.closed[1].status));
  EXPECT_TRUE(absl::IsUnauthenticated(world.closed[2].status));
  EXPECT_EQ(world->job().state(), v1::RUNNING);
}

TEST(JobMachineTest, OlderAttemptIsRefusedAfterARestart) {
  World world(1);
  world.Run();
  world.Exit(0);
  world.Pass(absl::Minutes(1));
  world.Attach(0, 5, /*attempt=*/1, kProtocol, "hash1", 900);
  ASSERT_FALSE(world.closed.empty());
  EXPECT_TRUE(absl::IsAborted(world.closed.back().status));
}

TEST(JobMachineTest, OtherProtocolVersionFailsTheJob) {
  World world(1);
  world->GiveSlots(world.now);
  world.Settle();
  world.Attach(0, -1, 0, kProtocol + 1);
  EXPECT_TRUE(absl::IsFailedPrecondition(world.closed[0].status));
  world.Exit(0);
  EXPECT_EQ(world->job().state(), v1::FAILED);
  EXPECT_EQ(world->job().reason(), v1::PROTOCOL_MISMATCH);
}

TEST(JobMachineTest, CancelledWhileQueuedEndsAtOnce) {
  World world;
  ASSERT_OK(world->Cancel(world.now));
  world.Settle();
  EXPECT_THAT(world.States(), ElementsAre(v1::CANCELLED));
  EXPECT_TRUE(world.persisted.back().settle);
  EXPECT_THAT(world->Cancel(world.now), StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST(JobMachineTest, CancelledWhileRunningStopsInOrderAndReturnsWhatNeverStarted) {
  World world;
  world.Run();
  world.AskForGrant(0);
  world.Report(0);
  ASSERT_OK(world->Cancel(world.now));
  ASSERT_OK(world->Cancel(world.now)) << "idempotent";
  world.Settle();
  EXPECT_EQ(world.CountSent([](const auto& message) {
    return message.has_stop() && message.stop().mode() == v1::Stop::CHECKPOINT;
  }),
            2);
  world.Finish(0, v1::Finished::STOPPED, 3);
  world.Finish(1, v1::Finished::STOPPED, 4);
  for (int rank : {0, 1}) world.Exit(rank, launcher::WorkerExit::Kind::kExited, 0);
  EXPECT_EQ(world->job().state(), v1::CANCELLED);
  EXPECT_EQ(world.persisted.back().return_from, 4);
  EXPECT_THAT(world.killed, IsEmpty());
}

TEST(JobMachineTest, CancelledWorkerThatDoesNotStopIsKilled) {
  World world(1);
  world.Run();
  ASSERT_OK(world->Cancel(world.now));
  world.Settle();
  world.Pass(Policy().stop_grace);
  EXPECT_THAT(world.killed, ElementsAre(0));
  world.Exit(0);
  EXPECT_EQ(world->job().state(), v1::CANCELLED);
  EXPECT_EQ(world.persisted.back().return_from, std::nullopt);
}

TEST(JobMachineTest, CancelledDuringBackoffEndsAtOnce) {
  World world(1);
  world.Run();
  world.Exit(0);
  ASSERT_OK(world->Cancel(world.now));
  world.Settle();
  EXPECT_EQ(world->job().state(), v1::CANCELLED);
  EXPECT_EQ(world.persisted.back().return_from, std::nullopt);
  world.Pass(absl::Hours(1));
  EXPECT_EQ(world.attempts, 1);
}

TEST(JobMachineTest, StopForShutdownLeavesTheJobToTheNextCoordinator) {
  World world(1);
  world.Run();
  world.AskForGrant(0);
  world->StopForShutdown(world.now);
  world.Settle();
  world.Finish(0, v1::Finished::STOPPED, 2);
  world.Exit(0, launcher::WorkerExit::Kind::kExited, 0);
  EXPECT_EQ(world->job().state(), v1::RECOVERING);
  EXPECT_EQ(world->job().restarts(), 0) << "not a failure";
  EXPECT_EQ(world.persisted.back().return_from, 2);
  world.Pass(absl::Hours(1));
  EXPECT_EQ(world.attempts, 1);
}

v1::Job LiveJob(v1::JobState state, v1::StateReason reason) {
  v1::Job job = QueuedJob(1);
  job.set_state(state);
  job.set_reason(reason);
  job.set_attempt(4);
  return job;
}

TEST(JobMachineRestoreTest, RunningWorkersMayComeBack) {
  World world(LiveJob(v1::RUNNING, v1::ALL_RANKS_ATTACHED));
  world->Restore("hash", 40, {{20, 30}}, {{0, 123, 1, "boot"}}, world.now);
  world.Settle();
  world.Attach(0, 25);
  ASSERT_THAT(world.sent, SizeIs(2));
  EXPECT_EQ(world.sent[0].message.welcome().secret(), "") << "nobody has it but the workers";
  EXPECT_EQ(world.sent[1].message.grant().end_step(), 30);
  world.AskForGrant(30);
  EXPECT_EQ(world.reservation, 990);
  world.Report(25);
  EXPECT_EQ(world.events.back().step().epsilon(), 0.5 * (40 + 6));
  world.Pass(Policy().reattach_grace);
  EXPECT_EQ(world->job().state(), v1::RUNNING);
}

TEST(JobMachineRestoreTest, WorkersThatDoNotComeBackAreFencedAndKilled) {
  World world(LiveJob(v1::RUNNING, v1::ALL_RANKS_ATTACHED));
  world->Restore("hash", 0, {}, {{0, 123, 1, "boot"}}, world.now);
  world.Pass(Policy().reattach_grace);
  EXPECT_EQ(world->job().state(), v1::RECOVERING);
  EXPECT_EQ(world->job().reason(), v1::COORDINATOR_RESTART);
  EXPECT_EQ(world->job().restarts(), 0);
  EXPECT_THAT(world.killed, ElementsAre(0));
  world.Attach(0, 25, 4, kProtocol, "hash", 900);
  EXPECT_TRUE(absl::IsAborted(world.closed.back().status));
  world.Exit(0);
  world.Pass(absl::ZeroDuration());
  EXPECT_EQ(world->job().attempt(), 5);
}

TEST(JobMachineRestoreTest, WorkerThatFinishedMeanwhileCounts) {
  World world(LiveJob(v1::RUNNING, v1::ALL_RANKS_ATTACHED));
  world->Restore("hash", 0, {{90, 100}}, {{0, 123, 1, "boot"}}, world.now);
  world->OnExit({"job-1", 4, 0, launcher::WorkerExit::Kind::kVanished, 0,
                 launcher::ExitRecord{Outcome::kDone, 0, "", 100, 100}},
                world.now);
  world.Settle();
  EXPECT_EQ(world->job().state(), v1::SUCCEEDED);
  EXPECT_EQ(world->job().completed_steps(), 100);
}

TEST(JobMachineRestoreTest, WorkersThatWereToldToFinishBeforeAreABudgetEnd) {
  World world(LiveJob(v1::RUNNING, v1::ALL_RANKS_ATTACHED));
  world->Restore("hash", 0, {{20, 30}}, {{0, 123, 1, "boot"}}, world.now);
  world.Attach(0, 30);
  world.Finish(0, v1::Finished::STOPPED, 30);
  world.Exit(0, launcher::WorkerExit::Kind::kVanished, 0);
  EXPECT_EQ(world->job().state(), v1::SUCCEEDED);
  EXPECT_EQ(world->job().reason(), v1::BUDGET);
}

TEST(JobMachineRestoreTest, AttemptThatWasOnlyStartingIsGivenUp) {
  World world(LiveJob(v1::STARTING, v1::SLOTS_GRANTED));
  world->Restore("hash", 0, {}, {{0, 123, 1, "boot"}}, world.now);
  world.Settle();
  EXPECT_EQ(world->job().state(), v1::RECOVERING);
  EXPECT_THAT(world.killed, ElementsAre(0));
}

TEST(JobMachineRestoreTest, CancellationGoesOn) {
  World world(LiveJob(v1::CANCELLING, v1::USER_REQUEST));
  world->Restore("hash", 0, {}, {{0, 123, 1, "boot"}}, world.now);
  world.Settle();
  world.Attach(0, 5);
  EXPECT_EQ(world.sent.back().message.stop().mode(), v1::Stop::CHECKPOINT);
  world.Exit(0);
  EXPECT_EQ(world->job().state(), v1::CANCELLED);
}

}  // namespace
}  // namespace sotto::scheduler
