// A job's machine and the world around it, for tests.
#ifndef SOTTO_SERVER_SCHEDULER_TESTING_MACHINE_WORLD_H_
#define SOTTO_SERVER_SCHEDULER_TESTING_MACHINE_WORLD_H_

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/scheduler/job_machine.h"

namespace sotto::scheduler {

inline constexpr int kProtocol = 7;

inline v1::Job QueuedJob(int world_size) {
  v1::Job job;
  job.set_id("job-1");
  job.set_state(v1::QUEUED);
  job.mutable_plan()->set_protocol_version(kProtocol);
  job.mutable_plan()->mutable_sharding()->set_world_size(world_size);
  job.mutable_plan()->mutable_train()->set_steps(100);
  job.mutable_plan()->mutable_train()->set_steps_per_grant(10);
  job.mutable_plan()->mutable_train()->set_checkpoint_every_steps(20);
  return job;
}

inline double HalfPerStep(const ReleasedBefore& before, int64_t first_step, int64_t end_step) {
  const int64_t earlier = before.compositions.empty() ? 0 : before.compositions[0];
  return 0.5 * static_cast<double>(earlier + end_step - first_step);
}

// A machine and the world around it: executes effects by writing them down, answers what must be
// answered.
class MachineWorld {
 public:
  explicit MachineWorld(int world_size = 2, Policy policy = {})
      : machine_(QueuedJob(world_size), policy, "/state", HalfPerStep) {}
  explicit MachineWorld(v1::Job job) : machine_(std::move(job), {}, "/state", HalfPerStep) {}

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
    machine_.SetCredentials("token", absl::StrCat("hash", attempts), "secret", {});
    std::vector<launcher::WorkerProcess> processes;
    for (int rank = 0; rank < machine_.world_size(); ++rank) {
      processes.push_back({rank, 10 * attempts + rank, 1, "boot"});
    }
    machine_.OnLaunched(processes, now);
  }

  JobMachine machine_;
};

}  // namespace sotto::scheduler

#endif  // SOTTO_SERVER_SCHEDULER_TESTING_MACHINE_WORLD_H_
