#include "server/store/sqlite_job_store.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "server/database/read_value.h"
#include "server/store/job_id.h"

namespace sotto::store {
namespace {

using database::Blob;
using database::Row;
using database::Transaction;
using database::Value;

struct JobColumns {
  Blob job;
  Blob plan;
};

JobColumns ColumnsOf(v1::Job job) {
  JobColumns columns;
  columns.plan.bytes = job.plan().SerializeAsString();
  job.clear_plan();
  columns.job.bytes = job.SerializeAsString();
  return columns;
}

absl::Status Parse(google::protobuf::MessageLite& message, const Value& value,
                   absl::string_view what) {
  if (message.ParseFromString(value.blob())) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("the stored ", what, " cannot be read"));
}

// From columns (job, plan), or (job) alone.
absl::StatusOr<v1::Job> JobOf(const Row& row) {
  v1::Job job;
  RETURN_IF_ERROR(Parse(job, row[0], "job"));
  if (row.size() > 1) RETURN_IF_ERROR(Parse(*job.mutable_plan(), row[1], "plan"));
  return job;
}

// One bit per state; 0: all states. What is no state of ours matches nothing, so its bit need not
// be kept.
int64_t StateSet(const std::vector<v1::JobState>& states) {
  if (states.empty()) return 0;
  int64_t set = 1 << v1::JOB_STATE_UNSPECIFIED;  // No stored job has it.
  for (const v1::JobState state : states) {
    if (v1::JobState_IsValid(state)) set |= int64_t{1} << state;
  }
  return set;
}

}  // namespace

absl::StatusOr<std::string> SqliteJobStore::AllocateJobId(Transaction& transaction) {
  ASSIGN_OR_RETURN(const std::vector<Row> rows,
                   transaction.Query("INSERT INTO job_numbers (id, last) VALUES (1, 1) "
                                     "ON CONFLICT (id) DO UPDATE SET last = last + 1 "
                                     "RETURNING last"));
  return JobIdOf(rows[0][0].int64());
}

absl::Status SqliteJobStore::CreateJob(Transaction& transaction, const v1::Job& job) {
  const absl::StatusOr<int64_t> number = JobNumberOf(job.id());
  if (!number.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("a job's id must be \"job-<number>\", but is '", job.id(), "'"));
  }
  JobColumns columns = ColumnsOf(job);
  const absl::Status inserted = transaction.Execute(
      "INSERT INTO jobs (number, state, is_live, request_id, job, plan) "
      "VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
      {*number, int64_t{job.state()}, !IsTerminal(job.state()),
       job.request_id().empty() ? Value() : Value(job.request_id()), std::move(columns.job),
       std::move(columns.plan)});
  if (!absl::IsAlreadyExists(inserted)) return inserted;
  return absl::AlreadyExistsError(
      absl::StrCat("job '", job.id(), "' or a job of request_id '", job.request_id(), "' exists"));
}

absl::StatusOr<v1::Job> SqliteJobStore::GetJob(Transaction& transaction, absl::string_view id) {
  ASSIGN_OR_RETURN(const int64_t number, JobNumberOf(id));
  ASSIGN_OR_RETURN(const std::vector<Row> rows,
                   transaction.Query("SELECT job, plan FROM jobs WHERE number = ?1", {number}));
  if (rows.empty()) return JobNotFoundError(id);
  return JobOf(rows[0]);
}

absl::StatusOr<v1::Job> SqliteJobStore::GetJobByRequestId(Transaction& transaction,
                                                          absl::string_view request_id) {
  ASSIGN_OR_RETURN(
      const std::vector<Row> rows,
      transaction.Query("SELECT job, plan FROM jobs WHERE request_id = ?1", {request_id}));
  if (rows.empty()) {
    return absl::NotFoundError(absl::StrCat("there is no job of request_id '", request_id, "'"));
  }
  return JobOf(rows[0]);
}

absl::StatusOr<std::vector<v1::Job>> SqliteJobStore::ListLiveJobs(Transaction& transaction) {
  ASSIGN_OR_RETURN(
      const std::vector<Row> rows,
      transaction.Query("SELECT job, plan FROM jobs WHERE is_live = 1 ORDER BY number"));
  std::vector<v1::Job> jobs;
  for (const Row& row : rows) {
    ASSIGN_OR_RETURN(v1::Job job, JobOf(row));
    jobs.push_back(std::move(job));
  }
  return jobs;
}

absl::StatusOr<JobPage> SqliteJobStore::ListJobs(Transaction& transaction, const JobQuery& query) {
  // One more row tells whether there is a next page.
  ASSIGN_OR_RETURN(
      const std::vector<Row> rows,
      transaction.Query("SELECT job FROM jobs WHERE (?1 = 0 OR number < ?1) "
                        "AND (?2 = 0 OR (?2 & (1 << state)) != 0) ORDER BY number DESC LIMIT ?3",
                        {query.before_number, StateSet(query.states), int64_t{query.limit} + 1}));
  JobPage page;
  for (const Row& row : rows) {
    if (static_cast<int>(page.jobs.size()) == query.limit) {
      ASSIGN_OR_RETURN(page.next_before_number, JobNumberOf(page.jobs.back().id()));
      break;
    }
    ASSIGN_OR_RETURN(v1::Job job, JobOf(row));
    page.jobs.push_back(std::move(job));
  }
  return page;
}

absl::Status SqliteJobStore::UpdateJob(Transaction& transaction, const v1::Job& job) {
  ASSIGN_OR_RETURN(const int64_t number, JobNumberOf(job.id()));
  ASSIGN_OR_RETURN(
      const std::vector<Row> rows,
      transaction.Query("SELECT state, request_id FROM jobs WHERE number = ?1", {number}));
  if (rows.empty()) return JobNotFoundError(job.id());
  const auto state = static_cast<v1::JobState>(rows[0][0].int64());
  if (IsTerminal(state) && job.state() != state) {
    return absl::FailedPreconditionError(
        absl::StrCat(job.id(), " has ended as ", v1::JobState_Name(state), " and cannot become ",
                     v1::JobState_Name(job.state())));
  }
  v1::Job stored = job;
  stored.set_request_id(rows[0][1].text());
  return transaction.Execute(
      "UPDATE jobs SET state = ?2, is_live = ?3, job = ?4 WHERE number = ?1",
      {number, int64_t{job.state()}, !IsTerminal(job.state()), ColumnsOf(std::move(stored)).job});
}

absl::Status SqliteJobStore::ReplacePlan(Transaction& transaction, absl::string_view id,
                                         const v1::JobPlan& plan) {
  ASSIGN_OR_RETURN(const v1::Job job, GetJob(transaction, id));
  if (IsTerminal(job.state())) {
    return absl::FailedPreconditionError(
        absl::StrCat(id, " has ended as ", v1::JobState_Name(job.state()), ": its plan stays"));
  }
  ASSIGN_OR_RETURN(const v1::JobSpec submitted, GetSubmittedSpec(transaction, id));
  ASSIGN_OR_RETURN(const int64_t number, JobNumberOf(id));
  return transaction.Execute(
      "UPDATE jobs SET plan = ?2, submitted_spec = ?3 WHERE number = ?1",
      {number, Blob{plan.SerializeAsString()}, Blob{submitted.SerializeAsString()}});
}

absl::StatusOr<v1::JobSpec> SqliteJobStore::GetSubmittedSpec(Transaction& transaction,
                                                             absl::string_view id) {
  ASSIGN_OR_RETURN(const int64_t number, JobNumberOf(id));
  ASSIGN_OR_RETURN(
      const std::vector<Row> rows,
      transaction.Query("SELECT submitted_spec, plan FROM jobs WHERE number = ?1", {number}));
  if (rows.empty()) return JobNotFoundError(id);
  v1::JobSpec spec;
  if (!rows[0][0].is_null()) {
    RETURN_IF_ERROR(Parse(spec, rows[0][0], "spec"));
    return spec;
  }
  v1::JobPlan plan;
  RETURN_IF_ERROR(Parse(plan, rows[0][1], "plan"));
  return std::move(*plan.mutable_spec());
}

void SqliteJobStore::GetJob(std::string id, Done<v1::Job> done) {
  database::ReadValue<v1::Job>(
      database_, [this, id](Transaction& transaction) { return GetJob(transaction, id); },
      std::move(done));
}

void SqliteJobStore::ListJobs(JobQuery query, Done<JobPage> done) {
  database::ReadValue<JobPage>(
      database_, [this, query](Transaction& transaction) { return ListJobs(transaction, query); },
      std::move(done));
}

}  // namespace sotto::store
