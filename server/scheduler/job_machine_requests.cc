// What users ask for: cancel, pause, resume; and the coordinator that ends.
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/scheduler/job_machine.h"

namespace sotto::scheduler {
namespace {

using Outcome = launcher::ExitRecord::Outcome;

std::string WorkersText(const v1::ShardingPlan& sharding) {
  const int count = sharding.world_size();
  std::string text = absl::StrCat(count, count == 1 ? " worker, " : " workers, ",
                                  v1::Strategy_Name(sharding.strategy()));
  if (sharding.strategy() == v1::HYBRID_SHARD) {
    absl::StrAppend(&text, " in groups of ", sharding.shard_group_size());
  }
  return text;
}

std::string ChangeOfWorkers(const v1::ShardingPlan& from, const v1::ShardingPlan& to) {
  const std::string before = WorkersText(from);
  const std::string after = WorkersText(to);
  return before == after ? absl::StrCat("resumed on ", after)
                         : absl::StrCat("resumed: from ", before, " to ", after);
}

}  // namespace

absl::Status JobMachine::Cancel(absl::Time now) {
  if (ended()) {
    return absl::FailedPreconditionError(
        absl::StrCat(job_.id(), " has ended: ", v1::JobState_Name(job_.state())));
  }
  switch (job_.state()) {
    case v1::QUEUED:
    case v1::PAUSED:
      effects_.push_back(Transit(v1::CANCELLED, v1::USER_REQUEST, "", now));
      return absl::OkStatus();
    case v1::CANCELLING:
      return absl::OkStatus();
    case v1::PAUSING:  // Its attempt is stopping as it would for a cancellation.
      effects_.push_back(Transit(v1::CANCELLING, v1::USER_REQUEST, "", now));
      return absl::OkStatus();
    default:
      StopAttempt(v1::CANCELLING, "cancelled", now);
      return absl::OkStatus();
  }
}

absl::Status JobMachine::Pause(absl::Time now) {
  if (ended()) {
    return absl::FailedPreconditionError(
        absl::StrCat(job_.id(), " has ended: ", v1::JobState_Name(job_.state())));
  }
  if (!trains()) {
    return absl::FailedPreconditionError(absl::StrCat(
        job_.id(), " does not train: it has no checkpoint to go on from, and cannot be paused"));
  }
  switch (job_.state()) {
    case v1::QUEUED:
      effects_.push_back(Transit(v1::PAUSED, v1::USER_REQUEST, "", now));
      return absl::OkStatus();
    case v1::PAUSING:
    case v1::PAUSED:
      return absl::OkStatus();
    case v1::CANCELLING:
      return absl::FailedPreconditionError(absl::StrCat(job_.id(), " is being cancelled"));
    default:
      StopAttempt(v1::PAUSING, "paused", now);
      return absl::OkStatus();
  }
}

absl::Status JobMachine::Resume(v1::JobPlan plan, int seen_states, absl::Time now) {
  if (job_.state() != v1::PAUSED) {
    return absl::FailedPreconditionError(
        absl::StrCat(job_.id(), " is not paused: it is ", v1::JobState_Name(job_.state())));
  }
  if (job_.history_size() != seen_states) {
    return absl::AbortedError(
        absl::StrCat(job_.id(), " was changed by another request meanwhile; try again"));
  }
  // What the ledger holds for the job was reserved for this promise.
  if (plan.privacy().SerializeAsString() != job_.plan().privacy().SerializeAsString() ||
      plan.train().steps() != job_.plan().train().steps()) {
    return absl::InternalError(absl::StrCat("the new plan of ", job_.id(), " promises another"));
  }
  std::string message = ChangeOfWorkers(job_.plan().sharding(), plan.sharding());
  *job_.mutable_plan() = std::move(plan);
  Persist persist = Transit(v1::QUEUED, v1::USER_REQUEST, std::move(message), now);
  persist.new_plan = true;
  effects_.push_back(std::move(persist));
  return absl::OkStatus();
}

void JobMachine::StopAttempt(v1::JobState to, std::string why, absl::Time now) {
  const bool running = job_.state() == v1::RUNNING;
  // With an ending the job is about to end by itself.
  if (attempt_.ending.has_value() && job_.state() != v1::RECOVERING) return;
  effects_.push_back(Transit(to, v1::USER_REQUEST, "", now));
  if (running) {
    SendStop(v1::Stop::CHECKPOINT, std::move(why));
    attempt_.kill_time = now + policy_.stop_grace;
  } else {
    KillAlive();
  }
  attempt_.ending = {Ending::Kind::kStopped, v1::USER_REQUEST, ""};
  FinishIfOver(now);
}

void JobMachine::StopForShutdown(absl::Time now) {
  Freeze();
  const std::string message = "the coordinator was stopped";
  if (job_.state() == v1::STARTING) {
    Lose(v1::COORDINATOR_RESTART, message, now);
    FinishIfOver(now);
  } else if (job_.state() == v1::RUNNING && !attempt_.ending.has_value()) {
    attempt_.ending = {Ending::Kind::kLost, v1::COORDINATOR_RESTART, message};
    effects_.push_back(Transit(v1::RECOVERING, v1::COORDINATOR_RESTART, message, now));
    SendStop(v1::Stop::CHECKPOINT, message);
    attempt_.kill_time = now + policy_.stop_grace;
  }
}

Persist JobMachine::FinishStopped(bool clean, absl::Time now) {
  if (clean && attempt_.AllEnded({Outcome::kDone})) {
    return Transit(v1::SUCCEEDED, DoneReason(), "", now);
  }
  if (job_.state() != v1::PAUSING) return Transit(v1::CANCELLED, v1::USER_REQUEST, "", now);
  // Told to save a checkpoint, and not every rank said that it did: steps may have to run again.
  const bool lost = !clean && attempt_.stop == v1::Stop::CHECKPOINT && !attempt_.grants.empty();
  if (!lost) return Transit(v1::PAUSED, v1::USER_REQUEST, "", now);
  job_.set_restarts(job_.restarts() + 1);
  std::string message =
      "not every rank stopped in order: the job goes on from its newest checkpoint";
  for (size_t rank = 0; rank < attempt_.ranks.size(); ++rank) {
    const std::optional<launcher::ExitRecord>& record = attempt_.ranks[rank].record;
    if (!record.has_value() || record->outcome != Outcome::kFailed) continue;
    absl::StrAppend(&message, " (rank ", rank, ": ", record->message, ")");
    break;
  }
  return Transit(v1::PAUSED, v1::USER_REQUEST, std::move(message), now);
}

}  // namespace sotto::scheduler
