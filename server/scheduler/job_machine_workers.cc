// What workers say, and what they are told.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/scheduler/job_machine.h"
#include "server/scheduler/noise_of_step.h"
#include "server/scheduler/proto_time.h"
#include "server/scheduler/transitions.h"

namespace sotto::scheduler {
namespace {

using Outcome = launcher::ExitRecord::Outcome;

// A note is shown to every reader of the job; a line is enough.
constexpr size_t kLongestNote = 500;

// Coordinators and workers of one build speak one version. INTERNAL: the parameters overflowed,
// and the same steps would only be paid for again.
bool IsFatal(int reason) {
  return reason == v1::INVALID_DATA || reason == v1::INVALID_CHECKPOINT ||
         reason == v1::PROTOCOL_MISMATCH || reason == v1::PLAN_CANNOT_RUN || reason == v1::INTERNAL;
}

launcher::ExitRecord FromProto(const v1::Finished& finished) {
  launcher::ExitRecord record;
  switch (finished.outcome()) {
    case v1::Finished::DONE:
      record.outcome = Outcome::kDone;
      break;
    case v1::Finished::STOPPED:
      record.outcome = Outcome::kStopped;
      break;
    case v1::Finished::GRACE_EXPIRED:
      record.outcome = Outcome::kGraceExpired;
      break;
    default:
      record.outcome = Outcome::kFailed;
      break;
  }
  record.reason = finished.reason();
  record.message = finished.message();
  record.started_steps = finished.started_steps();
  record.completed_steps = finished.completed_steps();
  return record;
}

v1::CoordinatorMessage GrantMessage(int64_t attempt, const Granted& granted) {
  v1::CoordinatorMessage message;
  message.mutable_grant()->set_attempt(attempt);
  message.mutable_grant()->set_first_step(granted.first_step);
  message.mutable_grant()->set_end_step(granted.end_step);
  return message;
}

}  // namespace

RankState* JobMachine::FindRank(Scheduler::StreamId stream, int* rank) {
  for (*rank = 0; *rank < static_cast<int>(attempt_.ranks.size()); ++*rank) {
    if (attempt_.ranks[*rank].stream == stream) return &attempt_.ranks[*rank];
  }
  return nullptr;
}

void JobMachine::OnHello(const v1::Hello& hello, const std::string& token_sha256,
                         Scheduler::StreamId stream, absl::Time now) {
  const auto refuse = [&](absl::Status status) {
    effects_.push_back(Close{stream, std::move(status)});
  };
  if (ended() || hello.attempt() != attempt_.number || attempt_.ranks.empty() ||
      (attempt_.ending.has_value() && attempt_.stop == v1::Stop::MODE_UNSPECIFIED)) {
    return refuse(absl::AbortedError(
        absl::StrCat("attempt ", hello.attempt(), " of ", job_.id(), " is over")));
  }
  if (token_sha256 != attempt_.token_sha256 || hello.rank() < 0 || hello.rank() >= world_size()) {
    return refuse(absl::UnauthenticatedError("this token does not open this attempt"));
  }
  if (hello.protocol_version() != job_.plan().protocol_version()) {
    std::string message =
        absl::StrCat("rank ", hello.rank(), " speaks protocol version ", hello.protocol_version(),
                     ", the coordinator ", job_.plan().protocol_version());
    refuse(absl::FailedPreconditionError(message));
    Fail(v1::PROTOCOL_MISMATCH, std::move(message), now);
    return;
  }
  RankState& rank = attempt_.ranks[hello.rank()];
  if (rank.stream != 0) {
    effects_.push_back(Close{rank.stream, absl::AbortedError("the rank attached again")});
  }
  rank.stream = stream;
  rank.heard = now;
  rank.started_steps = std::max<int64_t>(rank.started_steps, hello.next_step());
  Welcome(hello.rank(), hello.next_step());
  if (job_.state() == v1::STARTING && attempt_.AllAttached()) {
    effects_.push_back(Transit(v1::RUNNING, v1::ALL_RANKS_ATTACHED, "", now));
    TryGrant();
  }
}

void JobMachine::Welcome(int rank, int64_t next_step) {
  const Scheduler::StreamId stream = attempt_.ranks[rank].stream;
  v1::CoordinatorMessage message;
  v1::Welcome& welcome = *message.mutable_welcome();
  *welcome.mutable_plan() = job_.plan();
  welcome.set_secret(attempt_.secret);
  welcome.set_checkpoint_directory(absl::StrCat(run_root_, "/jobs/", job_.id(), "/checkpoints"));
  welcome.set_end_step(job_.plan().train().steps());
  welcome.set_coordinator_grace_seconds(absl::ToDoubleSeconds(policy_.coordinator_grace));
  welcome.set_measure_device(wants_profile_ && rank == 0);
  effects_.push_back(Send{stream, std::move(message)});
  for (const Granted& granted : attempt_.grants) {
    if (granted.end_step > next_step) {
      effects_.push_back(Send{stream, GrantMessage(attempt_.number, granted)});
    }
  }
  if (attempt_.stop != v1::Stop::MODE_UNSPECIFIED) {
    v1::CoordinatorMessage stop;
    stop.mutable_stop()->set_mode(attempt_.stop);
    stop.mutable_stop()->set_reason(attempt_.stop_reason);
    effects_.push_back(Send{stream, std::move(stop)});
  }
}

void JobMachine::OnDetached(Scheduler::StreamId stream, absl::Time now) {
  int rank = 0;
  RankState* state = FindRank(stream, &rank);
  if (state == nullptr) return;
  state->stream = 0;
  state->heard = now;
}

void JobMachine::OnMessage(Scheduler::StreamId stream, const v1::WorkerMessage& message,
                           absl::Time now) {
  int rank = 0;
  RankState* state = FindRank(stream, &rank);
  if (state == nullptr || ended()) return;
  state->heard = now;
  // What all ranks know alike is heard from one.
  if (rank != 0 && !message.has_heartbeat() && !message.has_finished()) return;
  switch (message.kind_case()) {
    case v1::WorkerMessage::kReport:
      return OnReport(message.report(), stream, now);
    case v1::WorkerMessage::kHeartbeat:
      state->started_steps = std::max(state->started_steps, message.heartbeat().started_steps());
      return TryGrant();
    case v1::WorkerMessage::kCheckpointDone:
      return OnCheckpoint(message.checkpoint_done(), now);
    case v1::WorkerMessage::kGrantRequest:
      attempt_.request = message.grant_request();
      return TryGrant();
    case v1::WorkerMessage::kDeviceProfile:
      // Of anything but the plan's threads it would stand for what it was not measured with.
      if (message.device_profile().threads() == job_.plan().sharding().threads_per_rank()) {
        wants_profile_ = false;
        effects_.push_back(KeepProfile{message.device_profile()});
      }
      return;
    case v1::WorkerMessage::kFinished:
      // The rank waits for the stream's end: all that it said before is stored.
      effects_.push_back(Close{stream, absl::OkStatus()});
      state->stream = 0;
      OnFinished(rank, FromProto(message.finished()), now);
      return FinishIfOver(now);
    case v1::WorkerMessage::kNote: {
      v1::JobEvent event;
      event.set_note(message.note().text().substr(0, kLongestNote));
      return AddEvent(std::move(event), now);
    }
    case v1::WorkerMessage::kEvaluation: {
      v1::JobEvent event;
      *event.mutable_evaluation() = message.evaluation();
      return AddEvent(std::move(event), now);
    }
    default:
      return Fail(v1::PROTOCOL_MISMATCH, "a rank sent a message that is not of the protocol", now);
  }
}

void JobMachine::OnReport(const v1::StepReport& report, Scheduler::StreamId stream,
                          absl::Time now) {
  const bool granted = report.attempt() == attempt_.number && !attempt_.grants.empty() &&
                       report.step() >= attempt_.grants.front().first_step &&
                       report.step() < attempt_.granted_end();
  if (!granted) {
    return Fail(v1::INTERNAL, absl::StrCat("step ", report.step(), " was reported but not granted"),
                now);
  }
  const int64_t next = report.step() + 1;
  RankState& rank = attempt_.ranks[0];
  rank.started_steps = std::max(rank.started_steps, next);
  job_.set_completed_steps(std::max<int64_t>(job_.completed_steps(), next));

  v1::JobEvent event;
  v1::StepReport& step = *event.mutable_step();
  step = report;
  step.set_epsilon(epsilon_of_(attempt_.released_before, attempt_.grants.front().first_step, next));
  step.set_noise_multiplier(NoiseMultiplierAt(job_.plan().privacy(), report.step()));
  job_.set_epsilon(std::max(job_.epsilon(), step.epsilon()));

  Send ack{stream, {}};
  ack.message.mutable_ack()->set_step(report.step());
  AddEvent(std::move(event), now, std::move(ack));
  TryGrant();
}

void JobMachine::AddEvent(v1::JobEvent event, absl::Time now, std::optional<Send> then) {
  *event.mutable_time() = ToProto(now);
  Persist* last = effects_.empty() ? nullptr : std::get_if<Persist>(&effects_.back());
  // Reports that came together are one transaction, and one acknowledgement.
  if (last == nullptr || last->settle) {
    effects_.push_back(Persist{});
    last = &std::get<Persist>(effects_.back());
  }
  last->job = job_;
  last->events.push_back(std::move(event));
  if (then.has_value()) last->then = std::move(then);
}

void JobMachine::OnCheckpoint(const v1::CheckpointDone& done, absl::Time now) {
  job_.set_checkpoint_path(done.path());
  job_.set_checkpoint_step(done.step());
  v1::JobEvent event;
  event.mutable_checkpoint()->set_step(done.step());
  event.mutable_checkpoint()->set_path(done.path());
  AddEvent(std::move(event), now);
}

void JobMachine::OnExit(const launcher::WorkerExit& exit, absl::Time now) {
  if (exit.attempt != attempt_.number || exit.rank < 0 ||
      exit.rank >= static_cast<int>(attempt_.ranks.size()) || !attempt_.ranks[exit.rank].alive) {
    return;
  }
  RankState& rank = attempt_.ranks[exit.rank];
  rank.alive = false;
  if (exit.record.has_value()) OnFinished(exit.rank, *exit.record, now);
  if (!rank.record.has_value()) {
    // One that ends without a word while the others stop in good order will not let them.
    if (attempt_.kill_time != absl::InfiniteFuture()) KillAlive();
    Lose(v1::WORKER_LOST, exit.ToString(), now);
  } else if (!attempt_.AnyAlive()) {
    Lose(v1::WORKER_FAILED, "the ranks ended without having been told to", now);
  }
  FinishIfOver(now);
}

void JobMachine::OnFinished(int rank, const launcher::ExitRecord& record, absl::Time now) {
  RankState& state = attempt_.ranks[rank];
  if (state.record.has_value()) return;
  state.record = record;
  const std::string message = absl::StrCat("rank ", rank, ": ", record.message);
  switch (record.outcome) {
    case Outcome::kDone:
    case Outcome::kStopped:
      attempt_.kill_time = std::min(attempt_.kill_time, now + policy_.stop_grace);
      break;
    case Outcome::kGraceExpired:
      attempt_.kill_time = std::min(attempt_.kill_time, now + policy_.stop_grace);
      if (!attempt_.ending.has_value()) {
        attempt_.ending = {Ending::Kind::kLost, v1::COORDINATOR_RESTART, message};
        effects_.push_back(Transit(v1::RECOVERING, v1::COORDINATOR_RESTART, message, now));
      }
      return;
    default:
      if (IsFatal(record.reason)) {
        Fail(static_cast<v1::StateReason>(record.reason), message, now);
      } else {
        Lose(v1::WORKER_FAILED, message, now);
      }
      return;
  }
  if (attempt_.ending.has_value()) return;
  if (attempt_.AllEnded({Outcome::kDone})) {
    attempt_.ending = {Ending::Kind::kDone, v1::STEPS_DONE, ""};
  } else if (trains() && (attempt_.stop == v1::Stop::FINISH || attempt_.restored) &&
             attempt_.AllEnded({Outcome::kDone, Outcome::kStopped})) {
    // A coordinator that died after it had told them so left no trace of it; before it sends any
    // other stop it leaves RUNNING.
    attempt_.ending = {Ending::Kind::kBudget, v1::BUDGET, ""};
  }
}

bool JobMachine::MayGrant(int64_t attempt) const {
  return attempt == attempt_.number && job_.state() == v1::RUNNING &&
         !attempt_.ending.has_value() && attempt_.stop == v1::Stop::MODE_UNSPECIFIED;
}

void JobMachine::TryGrant() {
  if (!attempt_.request.has_value() || attempt_.committing || !MayGrant(attempt_.number)) return;
  const int64_t first = attempt_.request->first_step();
  if (attempt_.grants.empty()) {
    job_.set_completed_steps(first);
  } else if (first < attempt_.granted_end()) {
    attempt_.request.reset();
    for (const Granted& granted : attempt_.grants) {
      if (granted.end_step > first) SendToAll(GrantMessage(attempt_.number, granted));
    }
    return;
  }
  const v1::TrainPlan& train = job_.plan().train();
  const bool follows = attempt_.grants.empty() || first == attempt_.granted_end();
  if (first < 0 || first >= train.steps() || !follows) {
    attempt_.request.reset();
    return;
  }
  if (attempt_.Outstanding() >= 2) return;
  const double pace = attempt_.request->seconds_per_step();
  attempt_.committing = true;
  effects_.push_back(
      CommitGrant{attempt_.number, first, first + GrantSteps(policy_, train, pace, first)});
}

void JobMachine::OnGrantCommitted(const CommitGrant& wanted, Granted granted, absl::Time now) {
  if (wanted.attempt != attempt_.number) return;
  attempt_.committing = false;
  attempt_.request.reset();
  if (!MayGrant(wanted.attempt)) return;
  if (granted.end_step <= granted.first_step) {
    SendStop(v1::Stop::FINISH, "the job's reservation is used up");
    return;
  }
  attempt_.grants.push_back(granted);
  SendToAll(GrantMessage(attempt_.number, granted));
}

void JobMachine::OnGrantFailed(const absl::Status& status, absl::Time now) {
  attempt_.committing = false;
  Fail(v1::INTERNAL, absl::StrCat("a grant could not be committed: ", status.message()), now);
}

void JobMachine::SendStop(v1::Stop::Mode mode, std::string reason) {
  attempt_.stop = mode;
  attempt_.stop_reason = std::move(reason);
  v1::CoordinatorMessage message;
  message.mutable_stop()->set_mode(mode);
  message.mutable_stop()->set_reason(attempt_.stop_reason);
  SendToAll(message);
}

void JobMachine::SendToAll(const v1::CoordinatorMessage& message) {
  for (const RankState& rank : attempt_.ranks) {
    if (rank.stream != 0) effects_.push_back(Send{rank.stream, message});
  }
}

}  // namespace sotto::scheduler
