#include "server/scheduler/job_scheduler.h"

#include <signal.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <variant>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "common/crypto/random_bytes.h"
#include "common/crypto/sha256.h"
#include "server/scheduler/epsilon_of_plan.h"
#include "server/scheduler/transitions.h"

namespace sotto::scheduler {
namespace {

constexpr size_t kTokenBytes = 32;
constexpr size_t kSecretBytes = 32;
constexpr absl::Duration kDatabaseRetry = absl::Seconds(1);

// Jobs are "job-<number>", and numbers ascend with submission. -1: not a job's name.
int64_t NumberOf(absl::string_view job) {
  int64_t number = -1;
  if (!absl::ConsumePrefix(&job, "job-") || !absl::SimpleAtoi(job, &number)) return -1;
  return number;
}

}  // namespace

absl::StatusOr<std::unique_ptr<JobScheduler>> JobScheduler::Create(Options options) {
  std::unique_ptr<JobScheduler> scheduler(new JobScheduler(std::move(options)));
  JobScheduler* self = scheduler.get();
  ASSIGN_OR_RETURN(scheduler->launcher_,
                   self->options_.make_launcher([self](const launcher::WorkerExit& exit) {
                     self->Post([self, exit] {
                       JobMachine* machine = self->Find(exit.job);
                       if (machine != nullptr) machine->OnExit(exit, self->clock_.Now());
                     });
                   }));
  RETURN_IF_ERROR(scheduler->RestoreJobs());
  return scheduler;
}

JobScheduler::JobScheduler(Options options)
    : options_(std::move(options)),
      clock_(*options_.clock),
      records_(*options_.queue, *options_.store, *options_.ledger, options_.policy.kept_events) {}

JobScheduler::~JobScheduler() {
  Stop();
  launcher_.reset();  // Its thread may post until here.
}

absl::Status JobScheduler::RestoreJobs() {
  ASSIGN_OR_RETURN(std::vector<LiveJob> live, records_.LoadLive());
  for (LiveJob& job : live) {
    JobMachine& machine = AddMachine(job.job);
    machine.Restore(job.token_sha256, job.released_before, std::move(job.grants), job.processes,
                    clock_.Now());
    launcher_->Adopt(machine.MakeLaunchRequest(), job.processes);
  }
  return absl::OkStatus();
}

void JobScheduler::Post(std::function<void()> input) {
  MutexLock lock(mutex_);
  inbox_.push_back(std::move(input));
}

void JobScheduler::Admit(AdmitRequest request,
                         std::function<void(absl::StatusOr<AdmitResult>)> done) {
  Post([this, request = std::move(request), done = std::move(done)]() mutable {
    if (draining_ || halted_) return done(absl::UnavailableError("the coordinator is ending"));
    records_.Admit(std::move(request), clock_.Now(),
                   [this, done = std::move(done)](absl::StatusOr<AdmitResult> result) {
                     if (result.ok() && !result->existing) {
                       Post([this, job = result->job] { AddMachine(job); });
                     }
                     done(std::move(result));
                   });
  });
}

void JobScheduler::Cancel(std::string job, std::function<void(absl::StatusOr<v1::Job>)> done) {
  Change(
      std::move(job), [this](JobMachine& machine) { return machine.Cancel(clock_.Now()); },
      std::move(done));
}

void JobScheduler::Pause(std::string job, std::function<void(absl::StatusOr<v1::Job>)> done) {
  Change(
      std::move(job), [this](JobMachine& machine) { return machine.Pause(clock_.Now()); },
      std::move(done));
}

void JobScheduler::Resume(ResumeRequest request,
                          std::function<void(absl::StatusOr<v1::Job>)> done) {
  std::string job = request.job;
  Change(
      std::move(job),
      [this, request = std::move(request)](JobMachine& machine) {
        if (draining_ || halted_) return absl::UnavailableError("the coordinator is ending");
        return machine.Resume(request.plan, request.seen_states, clock_.Now());
      },
      std::move(done));
}

void JobScheduler::Change(std::string job, std::function<absl::Status(JobMachine&)> change,
                          std::function<void(absl::StatusOr<v1::Job>)> done) {
  Post([this, job = std::move(job), change = std::move(change), done = std::move(done)] {
    JobMachine* machine = Find(job);
    if (machine == nullptr) {
      const absl::StatusOr<v1::Job> stored = records_.Load(job);
      if (!stored.ok()) return done(stored.status());
      return done(absl::FailedPreconditionError(
          absl::StrCat(job, " has ended: ", v1::JobState_Name(stored->state()))));
    }
    const absl::Status status = change(*machine);
    answers_.push_back([this, status, job, done] {
      if (!status.ok()) return done(status);
      done(records_.Load(job));
    });
  });
}

Scheduler::StreamId JobScheduler::Attach(v1::Hello hello, std::shared_ptr<WorkerChannel> channel) {
  const StreamId stream = ++last_stream_;
  Post([this, stream, hello = std::move(hello), channel = std::move(channel)] {
    AddStream(stream, hello, channel);
  });
  return stream;
}

void JobScheduler::AddStream(StreamId stream, const v1::Hello& hello,
                             std::shared_ptr<WorkerChannel> channel) {
  JobMachine* machine = Find(hello.job());
  if (machine == nullptr) {
    channel->Close(absl::AbortedError(absl::StrCat("no live job \"", hello.job(), "\"")));
    return;
  }
  streams_[stream] = {hello.job(), std::move(channel)};
  machine->OnHello(hello, crypto::HexSha256(hello.attempt_token()), stream, clock_.Now());
}

void JobScheduler::Receive(StreamId stream, v1::WorkerMessage message) {
  Post([this, stream, message = std::move(message)] {
    const auto found = streams_.find(stream);
    if (found == streams_.end()) return;
    JobMachine* machine = Find(found->second.job);
    if (machine != nullptr) machine->OnMessage(stream, message, clock_.Now());
  });
}

void JobScheduler::Detach(StreamId stream) {
  Post([this, stream] {
    const auto found = streams_.find(stream);
    if (found == streams_.end()) return;
    JobMachine* machine = Find(found->second.job);
    if (machine != nullptr) machine->OnDetached(stream, clock_.Now());
    streams_.erase(found);
  });
}

void JobScheduler::RecordStewardView(std::string job, std::string what,
                                     std::function<void(absl::Status)> done) {
  Post([this, job = std::move(job), what = std::move(what), done = std::move(done)] {
    const absl::Status status = records_.CommitStewardView(job, what);
    JobMachine* machine = Find(job);
    if (status.ok() && machine != nullptr) machine->MarkStewardViewed();
    done(status);
  });
}

SlotsInfo JobScheduler::Slots() const { return {options_.slots, slots_in_use_.load()}; }

JobMachine* JobScheduler::Find(const std::string& job) {
  const auto found = machines_.find(NumberOf(job));
  return found == machines_.end() || found->second->job().id() != job ? nullptr
                                                                      : found->second.get();
}

JobMachine& JobScheduler::AddMachine(const v1::Job& job) {
  auto machine = std::make_unique<JobMachine>(job, options_.policy, options_.run_root,
                                              EpsilonOfPlan(job.plan()));
  if (draining_) machine->Freeze();
  return *(machines_[NumberOf(job.id())] = std::move(machine));
}

absl::Time JobScheduler::RunOnce() {
  std::deque<std::function<void()>> inbox;
  {
    MutexLock lock(mutex_);
    inbox.swap(inbox_);
  }
  for (const auto& input : inbox) input();
  do {
    for (auto& [number, machine] : machines_) machine->Tick(clock_.Now());
    AssignSlots();
  } while (ExecuteAll());
  for (const auto& answer : std::exchange(answers_, {})) answer();

  absl::Time next = absl::InfiniteFuture();
  bool any_alive = false;
  for (auto it = machines_.begin(); it != machines_.end();) {
    const JobMachine& machine = *it->second;
    any_alive = any_alive || machine.AnyAlive();
    next = std::min(next, machine.NextDeadline());
    it = machine.ended() ? machines_.erase(it) : std::next(it);
  }
  MutexLock lock(mutex_);
  any_alive_ = any_alive;
  return next;
}

void JobScheduler::AssignSlots() {
  int used = 0;
  for (const auto& [number, machine] : machines_) {
    if (machine->HoldsSlots()) used += machine->world_size();
  }
  for (auto& [number, machine] : machines_) {
    if (draining_ || halted_) break;
    // One that can never fit (the coordinator came back with fewer slots) does not hold others up.
    if (machine->job().state() != v1::QUEUED || machine->world_size() > options_.slots) continue;
    if (used + machine->world_size() > options_.slots) break;
    machine->GiveSlots(clock_.Now());
    used += machine->world_size();
  }
  slots_in_use_ = used;
}

bool JobScheduler::ExecuteAll() {
  bool any = false;
  for (auto& [number, machine] : machines_) {
    while (!halted_) {
      std::optional<Effect> effect = machine->TakeEffect();
      if (!effect.has_value()) break;
      Execute(*machine, *std::move(effect));
      any = true;
    }
  }
  return any;
}

void JobScheduler::Execute(JobMachine& machine, Effect effect) {
  if (const auto* send = std::get_if<Send>(&effect)) return ExecuteSend(*send);
  if (const auto* close = std::get_if<Close>(&effect)) return ExecuteClose(*close);
  if (const auto* start = std::get_if<StartAttempt>(&effect)) return ExecuteStart(machine, *start);
  if (const auto* grant = std::get_if<CommitGrant>(&effect)) return ExecuteGrant(machine, *grant);
  if (const auto* kill = std::get_if<Kill>(&effect)) {
    const absl::Status status = launcher_->Signal(kill->process, SIGKILL);
    if (!status.ok() && !absl::IsNotFound(status)) SOTTO_LOG(WARNING) << status;
    return;
  }
  if (const auto* keep = std::get_if<KeepProfile>(&effect)) {
    const absl::Status status = records_.CommitProfile(keep->profile);
    if (!status.ok()) SOTTO_LOG(WARNING) << "a device profile was not kept: " << status;
    return;
  }
  const Persist& persist = std::get<Persist>(effect);
  const absl::Status status = UntilAvailable([&] { return records_.Commit(persist); });
  if (!status.ok()) return Halt(status);
  if (persist.then.has_value()) ExecuteSend(*persist.then);
}

void JobScheduler::ExecuteSend(const Send& send) {
  const auto found = streams_.find(send.stream);
  if (found != streams_.end()) found->second.channel->Send(send.message);
}

void JobScheduler::ExecuteClose(const Close& close) {
  const auto found = streams_.find(close.stream);
  if (found == streams_.end()) return;
  found->second.channel->Close(close.status);
  streams_.erase(found);
}

void JobScheduler::ExecuteStart(JobMachine& machine, const StartAttempt& start) {
  const std::string token = crypto::RandomHex(kTokenBytes);
  const std::string token_sha256 = crypto::HexSha256(token);
  ReleasedBefore released_before;
  const absl::Status status = UntilAvailable([&]() -> absl::Status {
    ASSIGN_OR_RETURN(released_before,
                     records_.CommitAttempt(start.persist, token_sha256, clock_.Now()));
    return absl::OkStatus();
  });
  if (!status.ok()) return Halt(status);
  const bool is_private = !machine.job().plan().privacy().not_private();
  const absl::StatusOr<bool> known =
      records_.HasProfile(machine.job().plan().sharding().threads_per_rank());
  machine.WantProfile(known.ok() && !*known);
  machine.SetCredentials(token, token_sha256,
                         is_private ? crypto::RandomBytes(kSecretBytes) : std::string(),
                         std::move(released_before));
  launcher::LaunchRequest request = machine.MakeLaunchRequest();
  request.coordinator_address = options_.coordinator_address;
  const auto processes = launcher_->Launch(request);
  if (!processes.ok()) return machine.OnLaunchFailed(processes.status(), clock_.Now());
  machine.OnLaunched(*processes, clock_.Now());
  const absl::Status recorded = UntilAvailable(
      [&] { return records_.CommitProcesses(request.job, request.attempt, *processes); });
  if (!recorded.ok()) Halt(recorded);
}

void JobScheduler::ExecuteGrant(JobMachine& machine, const CommitGrant& wanted) {
  // The attempt may have ended since it was asked for; what is committed is paid.
  if (!machine.MayGrant(wanted.attempt)) return;
  absl::StatusOr<Granted> granted = Granted();
  const absl::Status status = UntilAvailable([&] {
    granted = records_.CommitSteps(machine.job().id(), wanted, clock_.Now());
    return granted.status();
  });
  if (!status.ok()) return machine.OnGrantFailed(status, clock_.Now());
  machine.OnGrantCommitted(wanted, *granted, clock_.Now());
}

absl::Status JobScheduler::UntilAvailable(const std::function<absl::Status()>& transaction) {
  for (;;) {
    const absl::Status status = transaction();
    if (!absl::IsUnavailable(status)) return status;
    SOTTO_LOG(ERROR) << "the database does not answer; trying again: " << status;
    MutexLock lock(mutex_);
    if (clock_.AwaitFor(mutex_, absl::Condition(&stopping_), kDatabaseRetry)) return status;
  }
}

void JobScheduler::Halt(const absl::Status& status) {
  SOTTO_LOG(ERROR) << "the scheduler stops: a transaction that must succeed failed: " << status;
  halted_ = true;
}

void JobScheduler::Start() {
  thread_ = std::thread([this] { Loop(); });
}

void JobScheduler::Loop() {
  for (;;) {
    const absl::Time next = RunOnce();
    const auto woken = [this] { return stopping_ || !inbox_.empty(); };
    MutexLock lock(mutex_);
    clock_.AwaitUntil(mutex_, absl::Condition(&woken), next);
    if (stopping_ && inbox_.empty()) return;
  }
}

void JobScheduler::Drain() {
  Post([this] {
    draining_ = true;
    for (auto& [number, machine] : machines_) machine->Freeze();
  });
}

void JobScheduler::StopWorkers(absl::Duration timeout) {
  Mutex done_mutex;
  bool done = false;
  Drain();
  Post([this, &done_mutex, &done] {
    for (auto& [number, machine] : machines_) machine->StopForShutdown(clock_.Now());
    MutexLock lock(done_mutex);
    done = true;
  });
  {
    MutexLock lock(done_mutex);
    done_mutex.Await(absl::Condition(&done));
  }
  const auto all_gone = [this] { return !any_alive_ && inbox_.empty(); };
  MutexLock lock(mutex_);
  clock_.AwaitFor(mutex_, absl::Condition(&all_gone), timeout);
}

bool JobScheduler::any_alive() const {
  MutexLock lock(mutex_);
  return any_alive_;
}

void JobScheduler::Stop() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  if (thread_.joinable()) thread_.join();
}

}  // namespace sotto::scheduler
