// The coordinator's end of one WatchJob stream.
#ifndef SOTTO_SERVER_API_WATCH_STREAM_H_
#define SOTTO_SERVER_API_WATCH_STREAM_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include <grpcpp/support/server_callback.h>

#include "absl/status/status.h"
#include "common/base/clock.h"
#include "common/base/mutex.h"
#include "proto/sotto/v1/job_service.pb.h"
#include "server/api/field_classes.h"
#include "server/store/job_reader.h"

namespace sotto::api {

// A cursor over the job's stored events; it holds one message at a time, so a watcher that never
// reads costs one page.
// 1. Begin() says whether the job is still live and reads the first page. 2. A page with events is
// written; OnWriteDone reads the next. 3. With nothing left to read the stream is idle until Wake()
// or Bookmark(). 4. The page that holds the terminal event is the last: its write is followed by
// Finish(OK). 5. Close(), a cancelled call and a broken write end the stream too, after the write
// in flight. 6. OnDone gives up the stream's reference to itself.
//
// Thread-safe. Calls into the reader are made without the lock, as its callback may come on the
// same thread.
class WatchStream final : public grpc::ServerWriteReactor<v1::WatchJobResponse>,
                          public std::enable_shared_from_this<WatchStream> {
 public:
  struct Options {
    std::string job;
    int64_t after_sequence = 0;
    // These outlive the stream.
    store::JobReader* reader = nullptr;
    Clock* clock = nullptr;
  };
  // Events of one message, at most: far below 1 MiB.
  static constexpr int kMaxEvents = 256;

  static std::shared_ptr<WatchStream> Create(Options options);

  // Starts sending. `job_has_ended`: no event will come beyond those stored. Call once, after
  // adding the stream to the hub, so that no wake-up is missed.
  void Begin(bool job_has_ended, Audience audience) ABSL_LOCKS_EXCLUDED(mutex_);
  // The job has events up to `tail_sequence`.
  void Wake(int64_t tail_sequence) ABSL_LOCKS_EXCLUDED(mutex_);
  // Sends a message without events, if the stream has been idle since `since`.
  void Bookmark(absl::Time since) ABSL_LOCKS_EXCLUDED(mutex_);
  // Ends the stream with this error.
  void Close(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mutex_);

  const std::string& job() const { return options_.job; }

  void OnWriteDone(bool ok) override ABSL_LOCKS_EXCLUDED(mutex_);
  void OnCancel() override;
  void OnDone() override ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  explicit WatchStream(Options options)
      : options_(std::move(options)), cursor_(options_.after_sequence) {}

  // Reads the next page unless something is under way or nothing is new.
  void ReadNext() ABSL_LOCKS_EXCLUDED(mutex_);
  void TakePage(absl::StatusOr<store::EventPage> page) ABSL_LOCKS_EXCLUDED(mutex_);
  // What is wrong with the cursor, given the page it led to.
  absl::Status CheckCursor(const store::EventPage& page) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Fills `message_` and writes it.
  void WriteEvents(store::EventPage page) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void StartWriting() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Finishes a stream with an end, unless a write is in flight.
  void FinishIfDue() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;

  Mutex mutex_;
  std::shared_ptr<WatchStream> self_
      ABSL_GUARDED_BY(mutex_);  // Until OnDone: gRPC holds a raw pointer.
  Audience audience_ ABSL_GUARDED_BY(mutex_) = Audience::kReaders;
  v1::WatchJobResponse message_ ABSL_GUARDED_BY(mutex_);  // Untouched while a write is in flight.
  int64_t cursor_ ABSL_GUARDED_BY(mutex_);                // newest event handed to gRPC
  int64_t tail_ ABSL_GUARDED_BY(mutex_) = 0;              // newest event known
  bool begun_ ABSL_GUARDED_BY(mutex_) = false;
  bool job_has_ended_ ABSL_GUARDED_BY(mutex_) = false;
  bool must_read_ ABSL_GUARDED_BY(mutex_) = true;  // A page is worth reading.
  bool read_in_flight_ ABSL_GUARDED_BY(mutex_) = false;
  bool write_in_flight_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Time last_write_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mutex_);  // Set by the first cause of the end.
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace sotto::api

#endif  // SOTTO_SERVER_API_WATCH_STREAM_H_
