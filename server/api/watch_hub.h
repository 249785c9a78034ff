// Wakes the watchers of a job when the job has new events.
#ifndef SOTTO_SERVER_API_WATCH_HUB_H_
#define SOTTO_SERVER_API_WATCH_HUB_H_

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/mutex.h"
#include "server/api/watch_stream.h"
#include "server/store/job_reader.h"

namespace sotto::api {

// Holds streams weakly: gRPC's OnDone decides how long they live. Thread-safe.
class WatchHub {
 public:
  // Bookmarks go to streams that have been silent this long.
  static constexpr absl::Duration kBookmarkInterval = absl::Seconds(10);

  // Both outlive the hub.
  WatchHub(store::JobReader& reader, Clock& clock);
  ~WatchHub();
  WatchHub(const WatchHub&) = delete;
  WatchHub& operator=(const WatchHub&) = delete;

  // From now on the stream is woken. After Drain it is closed at once.
  void Add(const std::shared_ptr<WatchStream>& stream) ABSL_LOCKS_EXCLUDED(mutex_);

  // Closes every stream, and each later one, with `status`.
  void Drain(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  using Streams = std::vector<std::shared_ptr<WatchStream>>;

  void Wake(const std::string& job, int64_t tail_sequence) ABSL_LOCKS_EXCLUDED(mutex_);
  void SendBookmarks() ABSL_LOCKS_EXCLUDED(mutex_);
  // The living streams, of one job or of all; forgets the others.
  Streams StreamsOf(const std::string& job) ABSL_LOCKS_EXCLUDED(mutex_);
  Streams AllStreams() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Clock& clock_;
  Mutex mutex_;
  absl::flat_hash_map<std::string, std::vector<std::weak_ptr<WatchStream>>> streams_
      ABSL_GUARDED_BY(mutex_);
  absl::Status draining_ ABSL_GUARDED_BY(mutex_);  // Not OK once Drain was called.
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::shared_ptr<void> listening_;  // Before the thread starts; released first.
  std::thread bookmarks_;
};

}  // namespace sotto::api

#endif  // SOTTO_SERVER_API_WATCH_HUB_H_
