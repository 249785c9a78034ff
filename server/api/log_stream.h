// One GetLogs stream: what the workers of an attempt have written so far.
#ifndef SOTTO_SERVER_API_LOG_STREAM_H_
#define SOTTO_SERVER_API_LOG_STREAM_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>

#include <grpcpp/support/server_callback.h>

#include "absl/status/status.h"
#include "common/base/fd.h"
#include "common/base/mutex.h"
#include "proto/sotto/v1/job_service.pb.h"

namespace sotto::api {

// A snapshot: ends at the end of the files, never waits for more. Reads 64 KiB of a local file per
// message on gRPC's thread. Thread-safe; ends and lives as a WatchStream does.
class LogStream final : public grpc::ServerWriteReactor<v1::GetLogsResponse>,
                        public std::enable_shared_from_this<LogStream> {
 public:
  struct Selection {
    std::string job_folder;  // holds attempt-<n>/rank-<r>.log
    int64_t attempt = 0;
    int32_t rank = 0;  // -1: all
  };

  static std::shared_ptr<LogStream> Create();

  // Call once. NOT_FOUND: there is no such log.
  void Begin(const Selection& selection) ABSL_LOCKS_EXCLUDED(mutex_);
  void Close(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mutex_);

  void OnWriteDone(bool ok) override ABSL_LOCKS_EXCLUDED(mutex_);
  void OnCancel() override;
  void OnDone() override ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct LogFile {
    int32_t rank = 0;
    std::string path;
  };

  LogStream() = default;
  void Advance() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The next text of the files, empty at the end of the last.
  absl::Status ReadChunk(std::string& text) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Mutex mutex_;
  std::shared_ptr<LogStream> self_ ABSL_GUARDED_BY(mutex_);  // Until OnDone.
  int64_t attempt_ ABSL_GUARDED_BY(mutex_) = 0;
  std::deque<LogFile> files_ ABSL_GUARDED_BY(mutex_);  // The head is the one being read.
  UniqueFd file_ ABSL_GUARDED_BY(mutex_);
  std::string rest_ ABSL_GUARDED_BY(mutex_);  // An incomplete line.
  v1::GetLogsResponse message_ ABSL_GUARDED_BY(mutex_);
  bool write_in_flight_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mutex_);
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace sotto::api

#endif  // SOTTO_SERVER_API_LOG_STREAM_H_
