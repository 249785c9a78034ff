// The events of SqliteJobStore.
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "server/database/read_value.h"
#include "server/store/job_id.h"
#include "server/store/sqlite_job_store.h"

namespace sotto::store {

using database::Blob;
using database::Row;
using database::Transaction;
using database::Value;

absl::StatusOr<int64_t> SqliteJobStore::AppendEvent(Transaction& transaction, absl::string_view job,
                                                    const v1::JobEvent& event) {
  ASSIGN_OR_RETURN(const int64_t number, JobNumberOf(job));
  ASSIGN_OR_RETURN(
      const std::vector<Row> rows,
      transaction.Query("SELECT tail_sequence + 1 FROM jobs WHERE number = ?1", {number}));
  if (rows.empty()) return JobNotFoundError(job);
  const int64_t sequence = rows[0][0].int64();
  v1::JobEvent stored = event;
  stored.set_sequence(sequence);
  const bool is_report = event.has_step();
  const absl::Status inserted = transaction.Execute(
      "INSERT INTO events (job, sequence, attempt, step, event) VALUES (?1, ?2, ?3, ?4, ?5)",
      {number, sequence, is_report ? Value(int64_t{event.step().attempt()}) : Value(),
       is_report ? Value(int64_t{event.step().step()}) : Value(),
       Blob{stored.SerializeAsString()}});
  if (absl::IsAlreadyExists(inserted) && is_report) {
    return absl::AlreadyExistsError(absl::StrCat("step ", event.step().step(), " of attempt ",
                                                 event.step().attempt(), " of ", job,
                                                 " is reported already"));
  }
  RETURN_IF_ERROR(inserted);
  RETURN_IF_ERROR(transaction.Execute("UPDATE jobs SET tail_sequence = ?2 WHERE number = ?1",
                                      {number, sequence}));
  transaction.AfterCommit(
      [this, id = std::string(job), sequence] { listeners_.Notify(id, sequence); });
  return sequence;
}

absl::StatusOr<EventPage> SqliteJobStore::ReadEvents(Transaction& transaction,
                                                     absl::string_view job, int64_t after_sequence,
                                                     int limit) {
  ASSIGN_OR_RETURN(const int64_t number, JobNumberOf(job));
  ASSIGN_OR_RETURN(
      const std::vector<Row> ends,
      transaction.Query("SELECT oldest_sequence, tail_sequence FROM jobs WHERE number = ?1",
                        {number}));
  if (ends.empty()) return JobNotFoundError(job);
  EventPage page;
  page.oldest_sequence = ends[0][0].int64();
  page.tail_sequence = ends[0][1].int64();
  page.compacted = after_sequence + 1 < page.oldest_sequence;
  if (page.compacted) return page;
  ASSIGN_OR_RETURN(const std::vector<Row> rows,
                   transaction.Query("SELECT event FROM events WHERE job = ?1 AND sequence > ?2 "
                                     "ORDER BY sequence LIMIT ?3",
                                     {number, after_sequence, limit}));
  for (const Row& row : rows) {
    v1::JobEvent event;
    if (!event.ParseFromString(row[0].blob())) {
      return absl::DataLossError(absl::StrCat("an event of ", job, " cannot be read"));
    }
    page.events.push_back(std::move(event));
  }
  return page;
}

absl::Status SqliteJobStore::CompactEvents(Transaction& transaction, absl::string_view job,
                                           int64_t oldest_sequence) {
  ASSIGN_OR_RETURN(const int64_t number, JobNumberOf(job));
  ASSIGN_OR_RETURN(
      const std::vector<Row> rows,
      transaction.Query("UPDATE jobs SET oldest_sequence = "
                        "max(oldest_sequence, min(?2, tail_sequence)) WHERE number = ?1 "
                        "RETURNING oldest_sequence",
                        {number, oldest_sequence}));
  if (rows.empty()) return JobNotFoundError(job);
  return transaction.Execute("DELETE FROM events WHERE job = ?1 AND sequence < ?2",
                             {number, rows[0][0].int64()});
}

void SqliteJobStore::ReadEvents(std::string job, int64_t after_sequence, int limit,
                                Done<EventPage> done) {
  database::ReadValue<EventPage>(
      database_,
      [this, job, after_sequence, limit](Transaction& transaction) {
        return ReadEvents(transaction, job, after_sequence, limit);
      },
      std::move(done));
}

void SqliteJobStore::ListDeviceProfiles(Done<std::vector<v1::DeviceProfile>> done) {
  database::ReadValue<std::vector<v1::DeviceProfile>>(
      database_, [this](Transaction& transaction) { return ListDeviceProfiles(transaction); },
      std::move(done));
}

std::shared_ptr<void> SqliteJobStore::Listen(EventListener listener) {
  return listeners_.Add(std::move(listener));
}

}  // namespace sotto::store
