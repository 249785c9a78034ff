#include "server/scheduler/job_records.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "server/ledger/job_charge.h"
#include "server/scheduler/proto_time.h"
#include "server/scheduler/transitions.h"

namespace sotto::scheduler {
namespace {

absl::StatusOr<ledger::ReservationRequest> ReservationOf(const AdmitRequest& admission,
                                                         const std::string& job) {
  const v1::JobPlan& plan = admission.plan;
  const v1::PrivacyPlan& privacy = plan.privacy();
  ledger::ReservationRequest request;
  request.job = job;
  request.dataset = plan.dataset().name();
  ASSIGN_OR_RETURN(request.charge, ledger::JobChargeOf(plan));
  request.steward_override =
      admission.steward && privacy.not_private() && plan.dataset().budgeted();
  request.detail =
      absl::StrCat("noise_multiplier=", privacy.noise_multiplier(),
                   " sampling_rate=", privacy.sampling_rate(), " batch_cap=", privacy.batch_cap(),
                   " sampler=", v1::SamplerPlan::Kind_Name(privacy.sampler().kind()),
                   " adjacency=", privacy.adjacency());
  return request;
}

// Inference reads public prompts and weights that were paid for: it has no dataset.
bool HasAccount(const v1::JobPlan& plan) { return !plan.has_inference(); }

v1::Job QueuedJob(const AdmitRequest& admission, std::string id, absl::Time now) {
  v1::Job job;
  job.set_id(std::move(id));
  job.set_name(admission.plan.spec().name());
  job.set_state(v1::QUEUED);
  job.set_reason(v1::SUBMITTED);
  *job.mutable_plan() = admission.plan;
  *job.mutable_submit_time() = ToProto(now);
  job.set_request_id(admission.request_id);
  v1::StateChange& change = *job.add_history();
  change.set_state(v1::QUEUED);
  change.set_reason(v1::SUBMITTED);
  *change.mutable_time() = ToProto(now);
  return job;
}

}  // namespace

void JobRecords::Admit(AdmitRequest request, absl::Time now,
                       std::function<void(absl::StatusOr<AdmitResult>)> done) {
  struct Admission {
    AdmitRequest request;
    AdmitResult result;
    absl::Status refusal;
  };
  const auto admission = std::make_shared<Admission>();
  admission->request = std::move(request);
  queue_.Submit(
      [this, admission, now](database::Transaction& transaction) {
        admission->result = {};
        admission->refusal = absl::OkStatus();
        return WriteAdmission(transaction, admission->request, now, admission->result,
                              admission->refusal);
      },
      [admission, done = std::move(done)](const absl::Status& status) {
        if (!status.ok()) return done(status);
        if (!admission->refusal.ok()) return done(std::move(admission->refusal));
        done(std::move(admission->result));
      });
}

absl::Status JobRecords::CheckOutput(database::Transaction& transaction, const v1::JobPlan& plan) {
  const std::string& output = plan.spec().inference().output();
  if (output.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::vector<v1::Job> live, store_.ListLiveJobs(transaction));
  for (const v1::Job& job : live) {
    if (job.plan().spec().inference().output() != output) continue;
    return absl::FailedPreconditionError(
        absl::StrCat("inference.output must not be that of a job that has not ended, but ",
                     job.id(), " is to write ", output));
  }
  return absl::OkStatus();
}

absl::Status JobRecords::WriteAdmission(database::Transaction& transaction,
                                        const AdmitRequest& request, absl::Time now,
                                        AdmitResult& result, absl::Status& refusal) {
  if (!request.request_id.empty()) {
    absl::StatusOr<v1::Job> known = store_.GetJobByRequestId(transaction, request.request_id);
    if (!known.ok() && !absl::IsNotFound(known.status())) return known.status();
    if (known.ok()) {
      // A job that was resumed on other workers is still the one that was submitted.
      ASSIGN_OR_RETURN(const v1::JobSpec submitted,
                       store_.GetSubmittedSpec(transaction, known->id()));
      if (submitted.SerializeAsString() != request.plan.spec().SerializeAsString()) {
        return absl::AlreadyExistsError(absl::StrCat("request_id \"", request.request_id,
                                                     "\" was used for ", known->id(),
                                                     ", whose spec is another"));
      }
      result = {*std::move(known), /*existing=*/true};
      return absl::OkStatus();
    }
  }
  RETURN_IF_ERROR(request.unless_known);
  RETURN_IF_ERROR(CheckOutput(transaction, request.plan));
  ASSIGN_OR_RETURN(std::string id, store_.AllocateJobId(transaction));
  if (HasAccount(request.plan)) {
    ASSIGN_OR_RETURN(const ledger::ReservationRequest reservation, ReservationOf(request, id));
    refusal = ledger_.Reserve(transaction, reservation);
    if (absl::IsResourceExhausted(refusal)) {
      // The refusal is an entry of the ledger, so the transaction must not fail.
      return ledger_.RecordRefusal(transaction, reservation, refusal);
    }
    RETURN_IF_ERROR(refusal);
  }
  result.job = QueuedJob(request, std::move(id), now);
  RETURN_IF_ERROR(store_.CreateJob(transaction, result.job));
  v1::JobEvent event;
  *event.mutable_time() = ToProto(now);
  *event.mutable_state() = result.job.history(0);
  return store_.AppendEvent(transaction, result.job.id(), event).status();
}

absl::Status JobRecords::Commit(const Persist& persist) {
  return queue_.SubmitAndWait(
      [&](database::Transaction& transaction) { return Write(transaction, persist); });
}

absl::Status JobRecords::Write(database::Transaction& transaction, const Persist& persist) {
  const v1::Job& job = persist.job;
  std::optional<double> budget_left;
  for (v1::JobEvent event : persist.events) {
    if (event.has_step() && job.plan().dataset().budgeted()) {
      if (!budget_left.has_value()) {
        ASSIGN_OR_RETURN(const v1::Dataset dataset,
                         ledger_.GetDataset(transaction, job.plan().dataset().name()));
        budget_left = dataset.left_epsilon();
      }
      event.mutable_step()->set_budget_left_epsilon(*budget_left);
    }
    const absl::Status status = WriteEvent(transaction, job.id(), event);
    // A report that was sent again after a reconnect.
    if (absl::IsAlreadyExists(status) && event.has_step()) continue;
    RETURN_IF_ERROR(status);
    if (event.has_checkpoint()) RETURN_IF_ERROR(WriteCheckpoint(transaction, job, event));
  }
  RETURN_IF_ERROR(store_.UpdateJob(transaction, job));
  if (persist.new_plan) RETURN_IF_ERROR(store_.ReplacePlan(transaction, job.id(), job.plan()));
  if (persist.forget_processes) {
    for (int rank = 0; rank < job.plan().sharding().world_size(); ++rank) {
      RETURN_IF_ERROR(store_.RemoveProcess(transaction, job.id(), job.attempt(), rank));
    }
  }
  if (!HasAccount(job.plan())) return absl::OkStatus();
  if (persist.return_from.has_value()) {
    RETURN_IF_ERROR(
        ledger_.ReturnUnstarted(transaction, job.id(), job.attempt(), *persist.return_from)
            .status());
  }
  if (persist.settle) RETURN_IF_ERROR(ledger_.Settle(transaction, job.id()));
  return absl::OkStatus();
}

absl::Status JobRecords::WriteEvent(database::Transaction& transaction, const std::string& job,
                                    const v1::JobEvent& event) {
  ASSIGN_OR_RETURN(const int64_t sequence, store_.AppendEvent(transaction, job, event));
  constexpr int64_t kCompactedAtOnce = 1000;
  const int64_t oldest = sequence - kept_events_ + 1;
  if (oldest <= 1 || sequence % std::min(kCompactedAtOnce, kept_events_) != 0) {
    return absl::OkStatus();
  }
  return store_.CompactEvents(transaction, job, oldest);
}

absl::Status JobRecords::CommitProfile(const v1::DeviceProfile& profile) {
  return queue_.SubmitAndWait([&](database::Transaction& transaction) {
    return store_.PutDeviceProfile(transaction, profile);
  });
}

absl::StatusOr<bool> JobRecords::HasProfile(int threads) {
  bool has = false;
  RETURN_IF_ERROR(queue_.ReadAndWait([&](database::Transaction& transaction) -> absl::Status {
    ASSIGN_OR_RETURN(const std::vector<v1::DeviceProfile> profiles,
                     store_.ListDeviceProfiles(transaction));
    for (const v1::DeviceProfile& profile : profiles) has |= profile.threads() == threads;
    return absl::OkStatus();
  }));
  return has;
}

absl::Status JobRecords::WriteCheckpoint(database::Transaction& transaction, const v1::Job& job,
                                         const v1::JobEvent& event) {
  const store::CheckpointRecord record{job.id(), job.attempt(), event.checkpoint().step(),
                                       event.checkpoint().path(), FromProto(event.time())};
  RETURN_IF_ERROR(store_.PutCheckpoint(transaction, record));
  ASSIGN_OR_RETURN(const std::vector<store::CheckpointRecord> all,
                   store_.ListCheckpoints(transaction, job.id()));
  // The worker keeps this many directories and removes older ones.
  const size_t keep = std::max(1, job.plan().train().checkpoint_keep());
  for (size_t i = keep; i < all.size(); ++i) {
    RETURN_IF_ERROR(store_.RemoveCheckpoint(transaction, job.id(), all[i].step));
  }
  return absl::OkStatus();
}

absl::StatusOr<ReleasedBefore> JobRecords::CommitAttempt(const Persist& persist,
                                                         const std::string& token_sha256,
                                                         absl::Time now) {
  const v1::Job& job = persist.job;
  ReleasedBefore released;
  RETURN_IF_ERROR(queue_.SubmitAndWait([&](database::Transaction& transaction) -> absl::Status {
    RETURN_IF_ERROR(Write(transaction, persist));
    RETURN_IF_ERROR(store_.PutAttempt(
        transaction,
        {job.id(), job.attempt(), job.plan().sharding().world_size(), token_sha256, now}));
    if (!HasAccount(job.plan())) return absl::OkStatus();
    RETURN_IF_ERROR(ledger_.StartAttempt(transaction, job.id(), job.attempt()));
    ASSIGN_OR_RETURN(const ledger::Account account, ledger_.GetAccount(transaction, job.id()));
    released = {account.committed_by_segment, account.run_end};
    return absl::OkStatus();
  }));
  return released;
}

absl::Status JobRecords::CommitProcesses(const std::string& job, int64_t attempt,
                                         const std::vector<launcher::WorkerProcess>& processes) {
  return queue_.SubmitAndWait([&](database::Transaction& transaction) -> absl::Status {
    for (const launcher::WorkerProcess& process : processes) {
      RETURN_IF_ERROR(store_.PutProcess(transaction, {job, attempt, process.rank, process.pid,
                                                      process.start_time, process.boot_id}));
    }
    return absl::OkStatus();
  });
}

absl::StatusOr<Granted> JobRecords::CommitSteps(const std::string& job, const CommitGrant& wanted,
                                                absl::Time now) {
  Granted granted;
  RETURN_IF_ERROR(queue_.SubmitAndWait([&](database::Transaction& transaction) -> absl::Status {
    ASSIGN_OR_RETURN(
        const ledger::GrantedSteps steps,
        ledger_.CommitGrant(transaction, job, wanted.attempt, wanted.first_step, wanted.end_step));
    granted = {steps.first_step, steps.end_step};
    if (steps.steps() == 0) return absl::OkStatus();
    v1::JobEvent event;
    *event.mutable_time() = ToProto(now);
    event.mutable_grant()->set_attempt(wanted.attempt);
    event.mutable_grant()->set_first_step(steps.first_step);
    event.mutable_grant()->set_end_step(steps.end_step);
    return WriteEvent(transaction, job, event);
  }));
  return granted;
}

absl::Status JobRecords::CommitStewardView(const std::string& job, const std::string& what) {
  return queue_.SubmitAndWait([&](database::Transaction& transaction) -> absl::Status {
    ASSIGN_OR_RETURN(v1::Job stored, store_.GetJob(transaction, job));
    if (HasAccount(stored.plan())) {
      RETURN_IF_ERROR(ledger_.RecordStewardView(transaction, job, what));
    }
    stored.set_steward_viewed(true);
    return store_.UpdateJob(transaction, stored);
  });
}

absl::StatusOr<std::vector<LiveJob>> JobRecords::LoadLive() {
  std::vector<LiveJob> live;
  RETURN_IF_ERROR(queue_.ReadAndWait([&](database::Transaction& transaction) -> absl::Status {
    ASSIGN_OR_RETURN(std::vector<v1::Job> jobs, store_.ListLiveJobs(transaction));
    ASSIGN_OR_RETURN(const std::vector<store::ProcessRecord> processes,
                     store_.ListProcesses(transaction));
    for (v1::Job& job : jobs) {
      ASSIGN_OR_RETURN(LiveJob loaded, LoadAttempt(transaction, std::move(job), processes));
      live.push_back(std::move(loaded));
    }
    return absl::OkStatus();
  }));
  return live;
}

absl::StatusOr<LiveJob> JobRecords::LoadAttempt(
    database::Transaction& transaction, v1::Job job,
    const std::vector<store::ProcessRecord>& processes) {
  LiveJob live;
  live.job = std::move(job);
  if (live.job.attempt() == 0) return live;
  ASSIGN_OR_RETURN(const store::AttemptRecord attempt,
                   store_.GetAttempt(transaction, live.job.id(), live.job.attempt()));
  live.token_sha256 = attempt.token_sha256;
  for (const store::ProcessRecord& process : processes) {
    if (process.job != live.job.id() || process.attempt != live.job.attempt()) continue;
    live.processes.push_back(
        {process.rank, static_cast<pid_t>(process.pid), process.start_time, process.boot_id});
  }
  if (HasAccount(live.job.plan())) RETURN_IF_ERROR(LoadGrants(transaction, live));
  return live;
}

absl::Status JobRecords::LoadGrants(database::Transaction& transaction, LiveJob& live) {
  ASSIGN_OR_RETURN(const std::vector<ledger::GrantedSteps> grants,
                   ledger_.ListGrants(transaction, live.job.id(), live.job.attempt()));
  ASSIGN_OR_RETURN(const ledger::Account account, ledger_.GetAccount(transaction, live.job.id()));
  live.released_before = {account.committed_by_segment, account.run_end};
  for (const ledger::GrantedSteps& grant : grants) {
    live.grants.push_back({grant.first_step, grant.end_step});
  }
  // One that has returned its steps reports no more.
  if (!grants.empty() && !account.returned.has_value()) {
    const ledger::SegmentCounts own =
        account.CostOf(grants.front().first_step, grants.back().end_step);
    for (size_t i = 0; i < own.size(); ++i) live.released_before.compositions[i] -= own[i];
    live.released_before.run_end = account.earlier_run_end;
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::Job> JobRecords::Load(const std::string& job) {
  v1::Job loaded;
  RETURN_IF_ERROR(queue_.ReadAndWait([&](database::Transaction& transaction) -> absl::Status {
    ASSIGN_OR_RETURN(loaded, store_.GetJob(transaction, job));
    return absl::OkStatus();
  }));
  return loaded;
}

}  // namespace sotto::scheduler
