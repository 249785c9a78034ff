// What the API may read of jobs, without seeing the database.
#ifndef SOTTO_SERVER_STORE_JOB_READER_H_
#define SOTTO_SERVER_STORE_JOB_READER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/sotto/v1/device_profile.pb.h"
#include "proto/sotto/v1/job.pb.h"

namespace sotto::store {

struct JobQuery {
  std::vector<v1::JobState> states;  // empty: all
  int64_t before_number = 0;  // only jobs older than the one of this number; 0: from the newest
  int limit = 50;             // at least 1
};

// Newest first, without plans.
struct JobPage {
  std::vector<v1::Job> jobs;
  int64_t next_before_number = 0;  // for the next page; 0: this was the last
};

struct EventPage {
  std::vector<v1::JobEvent> events;  // ascending, dense
  int64_t tail_sequence = 0;         // newest committed; 0: none
  int64_t oldest_sequence = 1;       // oldest still kept: the compaction floor
  // The events right after the cursor are gone: after_sequence + 1 < oldest_sequence. `events` is
  // empty then.
  bool compacted = false;
};

// Thread-safe; no method blocks. `done` runs once, on a thread of the coordinator, and must not
// block.
class JobReader {
 public:
  template <typename T>
  using Done = std::function<void(absl::StatusOr<T>)>;

  // Told the job and its newest sequence number after every commit that appended events to it, on
  // the writer's thread: it only wakes someone up. Numbers of one job ascend.
  using EventListener = std::function<void(const std::string& job, int64_t tail_sequence)>;

  virtual ~JobReader() = default;

  // NOT_FOUND: no such job.
  virtual void GetJob(std::string id, Done<v1::Job> done) = 0;
  virtual void ListJobs(JobQuery query, Done<JobPage> done) = 0;
  // Up to `limit` events after `after_sequence` (0: from the first). NOT_FOUND: no such job.
  virtual void ReadEvents(std::string job, int64_t after_sequence, int limit,
                          Done<EventPage> done) = 0;

  // What workers measured of their devices, one for each number of threads, ascending.
  virtual void ListDeviceProfiles(Done<std::vector<v1::DeviceProfile>> done) = 0;

  // Adds a listener. When the returned handle is destroyed it is removed, and not running any more.
  // Events committed after this call are told; to miss none, listen first and read then.
  virtual std::shared_ptr<void> Listen(EventListener listener) = 0;
};

}  // namespace sotto::store

#endif  // SOTTO_SERVER_STORE_JOB_READER_H_
