// Attempts, processes and checkpoints of SqliteJobStore.
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "server/store/job_id.h"
#include "server/store/sqlite_job_store.h"

namespace sotto::store {
namespace {

using database::Row;
using database::Transaction;

// The rows' foreign keys name the job, so a missing one would be an INTERNAL error: ask first.
absl::StatusOr<int64_t> ExistingJob(Transaction& transaction, absl::string_view id) {
  ASSIGN_OR_RETURN(const int64_t number, JobNumberOf(id));
  ASSIGN_OR_RETURN(const std::vector<Row> rows,
                   transaction.Query("SELECT 1 FROM jobs WHERE number = ?1", {number}));
  if (rows.empty()) return JobNotFoundError(id);
  return number;
}

}  // namespace

absl::Status SqliteJobStore::PutAttempt(Transaction& transaction, const AttemptRecord& record) {
  ASSIGN_OR_RETURN(const int64_t number, ExistingJob(transaction, record.job));
  const absl::Status inserted = transaction.Execute(
      "INSERT INTO attempts (job, attempt, world_size, token_sha256, start_time) "
      "VALUES (?1, ?2, ?3, ?4, ?5)",
      {number, record.attempt, record.world_size, record.token_sha256,
       absl::ToUnixNanos(record.start_time)});
  if (!absl::IsAlreadyExists(inserted)) return inserted;
  return absl::AlreadyExistsError(
      absl::StrCat("attempt ", record.attempt, " of ", record.job, " exists"));
}

absl::StatusOr<AttemptRecord> SqliteJobStore::GetAttempt(Transaction& transaction,
                                                         absl::string_view job, int64_t attempt) {
  ASSIGN_OR_RETURN(const int64_t number, JobNumberOf(job));
  ASSIGN_OR_RETURN(const std::vector<Row> rows,
                   transaction.Query("SELECT world_size, token_sha256, start_time FROM attempts "
                                     "WHERE job = ?1 AND attempt = ?2",
                                     {number, attempt}));
  if (rows.empty()) {
    return absl::NotFoundError(absl::StrCat("there is no attempt ", attempt, " of ", job));
  }
  AttemptRecord record;
  record.job = std::string(job);
  record.attempt = attempt;
  record.world_size = static_cast<int>(rows[0][0].int64());
  record.token_sha256 = rows[0][1].text();
  record.start_time = absl::FromUnixNanos(rows[0][2].int64());
  return record;
}

absl::Status SqliteJobStore::PutProcess(Transaction& transaction, const ProcessRecord& record) {
  ASSIGN_OR_RETURN(const int64_t number, ExistingJob(transaction, record.job));
  return transaction.Execute(
      "INSERT OR REPLACE INTO processes (job, attempt, rank, pid, start_time, boot_id) "
      "VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
      {number, record.attempt, record.rank, record.pid, static_cast<int64_t>(record.start_time),
       record.boot_id});
}

absl::Status SqliteJobStore::RemoveProcess(Transaction& transaction, absl::string_view job,
                                           int64_t attempt, int rank) {
  ASSIGN_OR_RETURN(const int64_t number, ExistingJob(transaction, job));
  return transaction.Execute("DELETE FROM processes WHERE job = ?1 AND attempt = ?2 AND rank = ?3",
                             {number, attempt, rank});
}

absl::StatusOr<std::vector<ProcessRecord>> SqliteJobStore::ListProcesses(Transaction& transaction) {
  ASSIGN_OR_RETURN(const std::vector<Row> rows,
                   transaction.Query("SELECT job, attempt, rank, pid, start_time, boot_id "
                                     "FROM processes ORDER BY job, attempt, rank"));
  std::vector<ProcessRecord> records;
  for (const Row& row : rows) {
    ProcessRecord record;
    record.job = JobIdOf(row[0].int64());
    record.attempt = row[1].int64();
    record.rank = static_cast<int>(row[2].int64());
    record.pid = row[3].int64();
    record.start_time = static_cast<uint64_t>(row[4].int64());
    record.boot_id = row[5].text();
    records.push_back(std::move(record));
  }
  return records;
}

absl::Status SqliteJobStore::PutCheckpoint(Transaction& transaction,
                                           const CheckpointRecord& record) {
  ASSIGN_OR_RETURN(const int64_t number, ExistingJob(transaction, record.job));
  return transaction.Execute(
      "INSERT OR REPLACE INTO checkpoints (job, step, attempt, path, time) "
      "VALUES (?1, ?2, ?3, ?4, ?5)",
      {number, record.step, record.attempt, record.path, absl::ToUnixNanos(record.time)});
}

absl::Status SqliteJobStore::RemoveCheckpoint(Transaction& transaction, absl::string_view job,
                                              int64_t step) {
  ASSIGN_OR_RETURN(const int64_t number, ExistingJob(transaction, job));
  return transaction.Execute("DELETE FROM checkpoints WHERE job = ?1 AND step = ?2",
                             {number, step});
}

absl::StatusOr<std::vector<CheckpointRecord>> SqliteJobStore::ListCheckpoints(
    Transaction& transaction, absl::string_view job) {
  ASSIGN_OR_RETURN(const int64_t number, ExistingJob(transaction, job));
  ASSIGN_OR_RETURN(const std::vector<Row> rows,
                   transaction.Query("SELECT attempt, step, path, time FROM checkpoints "
                                     "WHERE job = ?1 ORDER BY step DESC",
                                     {number}));
  std::vector<CheckpointRecord> records;
  for (const Row& row : rows) {
    CheckpointRecord record;
    record.job = std::string(job);
    record.attempt = row[0].int64();
    record.step = row[1].int64();
    record.path = row[2].text();
    record.time = absl::FromUnixNanos(row[3].int64());
    records.push_back(std::move(record));
  }
  return records;
}

absl::Status SqliteJobStore::PutDeviceProfile(Transaction& transaction,
                                              const v1::DeviceProfile& profile) {
  return transaction.Execute(
      "INSERT OR REPLACE INTO device_profiles (threads, profile) VALUES (?1, ?2)",
      {profile.threads(), database::Blob{profile.SerializeAsString()}});
}

absl::StatusOr<std::vector<v1::DeviceProfile>> SqliteJobStore::ListDeviceProfiles(
    Transaction& transaction) {
  ASSIGN_OR_RETURN(const std::vector<Row> rows,
                   transaction.Query("SELECT profile FROM device_profiles ORDER BY threads"));
  std::vector<v1::DeviceProfile> profiles;
  for (const Row& row : rows) {
    if (!profiles.emplace_back().ParseFromString(row[0].blob())) {
      return absl::DataLossError("a stored device profile cannot be read");
    }
  }
  return profiles;
}

}  // namespace sotto::store
