// Lives of jobs and attempts. What workers say is in job_machine_workers.cc, what users ask for in
// job_machine_requests.cc.
#include "server/scheduler/job_machine.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/log.h"
#include "server/scheduler/proto_time.h"
#include "server/scheduler/transitions.h"

namespace sotto::scheduler {
namespace {

using Outcome = launcher::ExitRecord::Outcome;

constexpr auto kClean = {Outcome::kDone, Outcome::kStopped, Outcome::kGraceExpired};

}  // namespace

JobMachine::JobMachine(v1::Job job, Policy policy, std::string run_root, EpsilonOf epsilon_of)
    : job_(std::move(job)),
      policy_(policy),
      run_root_(std::move(run_root)),
      epsilon_of_(std::move(epsilon_of)) {
  attempt_.number = job_.attempt();
}

bool JobMachine::ended() const { return IsTerminal(job_.state()); }

void JobMachine::Restore(std::string token_sha256, ReleasedBefore released_before,
                         std::vector<Granted> grants,
                         const std::vector<launcher::WorkerProcess>& processes, absl::Time now) {
  if (job_.state() == v1::QUEUED || job_.state() == v1::PAUSED) return;
  attempt_.restored = true;
  attempt_.token_sha256 = std::move(token_sha256);
  attempt_.released_before = std::move(released_before);
  attempt_.grants = std::move(grants);
  attempt_.ranks.resize(world_size());
  for (const launcher::WorkerProcess& process : processes) {
    if (process.rank < 0 || process.rank >= world_size()) continue;
    RankState& rank = attempt_.ranks[process.rank];
    rank.process = process;
    rank.alive = true;
    rank.heard = now;
  }
  const bool all_known = std::all_of(attempt_.ranks.begin(), attempt_.ranks.end(),
                                     [](const RankState& rank) { return rank.alive; });
  if (job_.state() == v1::RUNNING && all_known) return;
  if (job_.state() == v1::RUNNING || job_.state() == v1::STARTING) {
    Lose(v1::COORDINATOR_RESTART, "the coordinator ended while the attempt was starting", now);
    return FinishIfOver(now);
  }
  if (job_.state() == v1::CANCELLING || job_.state() == v1::PAUSING) {
    attempt_.ending = {Ending::Kind::kStopped, v1::USER_REQUEST, job_.message()};
    attempt_.stop = v1::Stop::CHECKPOINT;
    attempt_.kill_time = now + policy_.stop_grace;
  } else {
    attempt_.ending = {Ending::Kind::kLost, v1::COORDINATOR_RESTART, job_.message()};
    KillAlive();
  }
  FinishIfOver(now);
}

Persist JobMachine::Transit(v1::JobState to, v1::StateReason reason, std::string message,
                            absl::Time now) {
  SOTTO_CHECK(IsAllowed(job_.state(), to, reason))
      << job_.id() << ": " << v1::JobState_Name(job_.state()) << " to " << v1::JobState_Name(to)
      << " for " << v1::StateReason_Name(reason);
  job_.set_state(to);
  job_.set_reason(reason);
  job_.set_message(message);
  v1::StateChange change;
  change.set_state(to);
  change.set_reason(reason);
  change.set_message(std::move(message));
  change.set_attempt(job_.attempt());
  *change.mutable_time() = ToProto(now);
  *job_.add_history() = change;
  if (IsTerminal(to)) *job_.mutable_end_time() = ToProto(now);

  Persist persist;
  v1::JobEvent& event = persist.events.emplace_back();
  *event.mutable_time() = ToProto(now);
  *event.mutable_state() = std::move(change);
  persist.settle = IsTerminal(to);
  persist.job = job_;
  return persist;
}

void JobMachine::GiveSlots(absl::Time now) { StartNextAttempt(v1::SLOTS_GRANTED, now); }

void JobMachine::StartNextAttempt(v1::StateReason reason, absl::Time now) {
  attempt_ = Attempt();
  attempt_.number = job_.attempt() + 1;
  attempt_.ranks.resize(world_size());
  attempt_.start_deadline = now + policy_.start_timeout;
  backoff_end_ = absl::InfiniteFuture();
  job_.set_attempt(attempt_.number);
  effects_.push_back(StartAttempt{Transit(v1::STARTING, reason, "", now)});
}

void JobMachine::SetCredentials(std::string token, std::string token_sha256, std::string secret,
                                ReleasedBefore released_before) {
  attempt_.token = std::move(token);
  attempt_.token_sha256 = std::move(token_sha256);
  attempt_.secret = std::move(secret);
  attempt_.released_before = std::move(released_before);
}

void JobMachine::OnLaunched(const std::vector<launcher::WorkerProcess>& processes, absl::Time now) {
  for (const launcher::WorkerProcess& process : processes) {
    attempt_.ranks[process.rank].process = process;
    attempt_.ranks[process.rank].alive = true;
  }
  // A cancellation, or a stop of the coordinator, came while the processes were started.
  if (attempt_.ending.has_value()) KillAlive();
}

void JobMachine::OnLaunchFailed(const absl::Status& status, absl::Time now) {
  std::string message = absl::StrCat("cannot start workers: ", status.message());
  if (absl::IsNotFound(status)) {
    Fail(v1::INTERNAL, std::move(message), now);
  } else {
    Lose(v1::WORKER_FAILED, std::move(message), now);
  }
  FinishIfOver(now);
}

void JobMachine::KillAlive() {
  for (const RankState& rank : attempt_.ranks) {
    if (rank.alive) effects_.push_back(Kill{rank.process});
  }
  attempt_.kill_time = absl::InfiniteFuture();
}

void JobMachine::Lose(v1::StateReason reason, std::string message, absl::Time now) {
  if (attempt_.ending.has_value()) return;
  const bool counts = reason != v1::COORDINATOR_RESTART;
  if (counts && job_.restarts() >= policy_.max_restarts) {
    Fail(v1::RESTARTS_EXHAUSTED,
         absl::StrCat("lost for the ", job_.restarts() + 1, "th time: ", message), now);
    return;
  }
  if (counts) job_.set_restarts(job_.restarts() + 1);
  attempt_.ending = {Ending::Kind::kLost, reason, message};
  effects_.push_back(Transit(v1::RECOVERING, reason, std::move(message), now));
  KillAlive();
}

void JobMachine::Fail(v1::StateReason reason, std::string message, absl::Time now) {
  if (attempt_.ending.has_value()) return;
  attempt_.ending = {Ending::Kind::kFatal, reason, std::move(message)};
  KillAlive();
}

void JobMachine::FinishIfOver(absl::Time now) {
  if (attempt_.ending.has_value() && !attempt_.AnyAlive()) FinishAttempt(now);
}

v1::StateReason JobMachine::DoneReason() const {
  return trains() ? v1::STEPS_DONE : v1::INFERENCE_DONE;
}

void JobMachine::FinishAttempt(absl::Time now) {
  const Ending ending = *attempt_.ending;
  const bool clean = !attempt_.ranks.empty() && attempt_.AllEnded(kClean);
  if (clean) {
    for (const RankState& rank : attempt_.ranks) {
      job_.set_completed_steps(
          std::max<int64_t>(job_.completed_steps(), rank.record->completed_steps));
    }
  }
  Persist persist;
  switch (ending.kind) {
    case Ending::Kind::kDone:
      persist = Transit(v1::SUCCEEDED, DoneReason(), "", now);
      break;
    case Ending::Kind::kBudget:
      persist = Transit(v1::SUCCEEDED, v1::BUDGET,
                        absl::StrCat("the reservation was used up after ", job_.completed_steps(),
                                     " distinct steps"),
                        now);
      break;
    case Ending::Kind::kFatal:
      persist = Transit(v1::FAILED, ending.reason, ending.message, now);
      break;
    case Ending::Kind::kStopped:
      persist = FinishStopped(clean, now);
      break;
    case Ending::Kind::kLost:
      backoff_end_ =
          ending.reason == v1::COORDINATOR_RESTART ? now : now + Backoff(policy_, job_.restarts());
      persist.job = job_;
      break;
  }
  persist.forget_processes = true;
  if (clean) persist.return_from = attempt_.StartedSteps();
  effects_.push_back(std::move(persist));
  for (const RankState& rank : attempt_.ranks) {
    if (rank.stream != 0) {
      effects_.push_back(Close{rank.stream, absl::AbortedError("the attempt is over")});
    }
  }
  attempt_.ranks.clear();
  attempt_.ending.reset();
  attempt_.kill_time = absl::InfiniteFuture();
}

void JobMachine::Tick(absl::Time now) {
  if (ended()) return;
  if (now >= attempt_.kill_time && FinishesItsStep(now)) {
    attempt_.kill_time = now + policy_.stop_grace;
  }
  if (now >= attempt_.kill_time) {
    Lose(v1::WORKER_FAILED, "the ranks did not all end in time", now);
    KillAlive();
  }
  if (job_.state() == v1::STARTING && now >= attempt_.start_deadline) {
    Lose(v1::START_TIMEOUT, "the ranks did not all attach in time", now);
  }
  for (int rank = 0; rank < static_cast<int>(attempt_.ranks.size()); ++rank) {
    const RankState& state = attempt_.ranks[rank];
    if (attempt_.ending.has_value()) break;
    if (state.record.has_value() || !state.alive) continue;
    if (state.stream == 0 && now >= state.heard + policy_.reattach_grace) {
      Lose(attempt_.restored ? v1::COORDINATOR_RESTART : v1::WORKER_LOST,
           absl::StrCat("rank ", rank, " did not attach again"), now);
    } else if (state.stream != 0 && now >= state.heard + policy_.lease) {
      Lose(v1::WORKER_LOST, absl::StrCat("rank ", rank, " fell silent"), now);
    }
  }
  FinishIfOver(now);
  if (job_.state() == v1::RECOVERING && !frozen_ && attempt_.ranks.empty() && now >= backoff_end_) {
    StartNextAttempt(v1::BACKOFF_OVER, now);
  }
}

// A pause waits for steps that take long, as long as every rank is heard of; what a kill would cost
// is paid again after the resume.
bool JobMachine::FinishesItsStep(absl::Time now) const {
  return job_.state() == v1::PAUSING &&
         std::all_of(attempt_.ranks.begin(), attempt_.ranks.end(), [&](const RankState& rank) {
           return rank.alive && !rank.record.has_value() && rank.stream != 0 &&
                  now < rank.heard + policy_.lease;
         });
}

absl::Time JobMachine::NextDeadline() const {
  if (ended()) return absl::InfiniteFuture();
  absl::Time next = attempt_.kill_time;
  if (job_.state() == v1::STARTING) next = std::min(next, attempt_.start_deadline);
  if (job_.state() == v1::RECOVERING && !frozen_ && attempt_.ranks.empty()) {
    next = std::min(next, backoff_end_);
  }
  if (!attempt_.ending.has_value()) {
    for (const RankState& rank : attempt_.ranks) {
      if (rank.record.has_value() || !rank.alive) continue;
      next =
          std::min(next, rank.heard + (rank.stream == 0 ? policy_.reattach_grace : policy_.lease));
    }
  }
  return next;
}

std::optional<Effect> JobMachine::TakeEffect() {
  if (effects_.empty()) return std::nullopt;
  Effect effect = std::move(effects_.front());
  effects_.pop_front();
  return effect;
}

launcher::LaunchRequest JobMachine::MakeLaunchRequest() const {
  launcher::LaunchRequest request;
  request.job = job_.id();
  request.attempt = attempt_.number;
  request.world_size = world_size();
  request.token = attempt_.token;
  request.communicator_bytes = job_.plan().sharding().communicator_bytes();
  request.run_directory =
      absl::StrCat(run_root_, "/jobs/", job_.id(), "/attempt-", attempt_.number);
  return request;
}

}  // namespace sotto::scheduler
