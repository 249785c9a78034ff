// What the rest of the coordinator may ask of the scheduler. The façade that server/api holds.
#ifndef SOTTO_SERVER_SCHEDULER_SCHEDULER_H_
#define SOTTO_SERVER_SCHEDULER_SCHEDULER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/sotto/v1/job.pb.h"
#include "proto/sotto/v1/plan.pb.h"
#include "proto/sotto/v1/worker_service.pb.h"
#include "server/scheduler/worker_channel.h"

namespace sotto::scheduler {

struct AdmitRequest {
  v1::JobPlan plan;        // of planning; its spec is what a repeated request_id is compared with
  std::string request_id;  // empty: not idempotent
  bool steward = false;    // a not-private job on budgeted data is recorded as the steward's; the
                           // caller checked the role
  absl::Status unless_known;  // not OK: the answer to a request_id that names no job yet
};

struct AdmitResult {
  v1::Job job;
  bool existing = false;  // the request_id was known and its spec is the same
};

struct ResumeRequest {
  std::string job;
  v1::JobPlan plan;     // of planning::Replan; promises and charges what the job's own does
  int seen_states = 0;  // entries of the job's history when the plan was made
};

struct SlotsInfo {
  int slots = 0;
  int slots_in_use = 0;
};

// Thread-safe; no method blocks, so gRPC's threads may call them. `done` runs once, on a thread of
// the coordinator, after the transaction that it reports has been committed; it must not block.
class Scheduler {
 public:
  using StreamId = int64_t;

  virtual ~Scheduler() = default;

  // Stores the job as QUEUED and reserves its budget, in one transaction.
  // RESOURCE_EXHAUSTED: budget, with numbers (the refusal is recorded). ALREADY_EXISTS: request_id
  // names a job of another spec. NOT_FOUND: dataset. FAILED_PRECONDITION: a job that has not ended
  // writes the same inference output. UNAVAILABLE: draining.
  virtual void Admit(AdmitRequest request,
                     std::function<void(absl::StatusOr<AdmitResult>)> done) = 0;

  // A queued job ends at once; a live one turns CANCELLING, saves a checkpoint and ends. Idempotent
  // while cancelling. NOT_FOUND: job. FAILED_PRECONDITION: it has ended.
  virtual void Cancel(std::string job, std::function<void(absl::StatusOr<v1::Job>)> done) = 0;

  // A queued job is PAUSED at once; a live one turns PAUSING, saves a checkpoint and gives its
  // slots back. Its reservation stays its own. Idempotent while pausing and paused. NOT_FOUND: job.
  // FAILED_PRECONDITION: it has ended, is being cancelled, or does not train.
  virtual void Pause(std::string job, std::function<void(absl::StatusOr<v1::Job>)> done) = 0;

  // A paused job is QUEUED again, by the new plan, which is stored in the same transaction.
  // NOT_FOUND: job. FAILED_PRECONDITION: it is not paused. ABORTED: it is paused again or still,
  // but has changed since the plan was made. UNAVAILABLE: draining.
  virtual void Resume(ResumeRequest request, std::function<void(absl::StatusOr<v1::Job>)> done) = 0;

  // A rank's stream, in this order: Attach with its first message, Receive for every later one,
  // Detach when the stream is over for any reason (also after WorkerChannel::Close). A Hello that
  // is refused closes the channel with UNAUTHENTICATED (token), ABORTED (older attempt, ended job)
  // or FAILED_PRECONDITION (protocol version).
  virtual StreamId Attach(v1::Hello hello, std::shared_ptr<WorkerChannel> channel) = 0;
  virtual void Receive(StreamId stream, v1::WorkerMessage message) = 0;
  virtual void Detach(StreamId stream) = 0;

  // Records that raw values or logs of the job (`what`) are about to be shown to a data steward, in
  // the ledger and on the job. NOT_FOUND: job.
  virtual void RecordStewardView(std::string job, std::string what,
                                 std::function<void(absl::Status)> done) = 0;

  virtual SlotsInfo Slots() const = 0;
};

}  // namespace sotto::scheduler

#endif  // SOTTO_SERVER_SCHEDULER_SCHEDULER_H_
