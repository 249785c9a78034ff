// The life of a ControlClient over all its streams.
#ifndef SOTTO_WORKER_CONTROL_SESSION_H_
#define SOTTO_WORKER_CONTROL_SESSION_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include <grpcpp/client_context.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/mutex.h"
#include "proto/sotto/v1/worker_service.grpc.pb.h"
#include "worker/control/control_client.h"
#include "worker/control/outbox.h"

namespace sotto::control {

// Two threads: the writer dials, says Hello, sends, waits between streams; the reader, which lives
// as long as one stream, takes what comes. Both share the state below under one mutex. Thread-safe.
class Session {
 public:
  explicit Session(ControlClient::Options options);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  absl::StatusOr<v1::Welcome> AwaitWelcome(absl::Duration timeout) ABSL_LOCKS_EXCLUDED(mutex_);
  void Serve(grant::GrantGate* gate) ABSL_LOCKS_EXCLUDED(mutex_);
  void Add(v1::WorkerMessage message) ABSL_LOCKS_EXCLUDED(mutex_);
  void Request(int64_t first_step) ABSL_LOCKS_EXCLUDED(mutex_);
  void SetProgress(const Progress& progress) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status Finish(const v1::Finished& finished, absl::Duration timeout)
      ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  using Stream = grpc::ClientReaderWriter<v1::WorkerMessage, v1::CoordinatorMessage>;

  void Run() ABSL_LOCKS_EXCLUDED(mutex_);
  // One stream, from Hello to its end. Returns how the coordinator ended it.
  absl::Status RunStream() ABSL_LOCKS_EXCLUDED(mutex_);
  // Sends until the stream breaks, the coordinator ends it, or the session stops.
  void Write(Stream& stream) ABSL_LOCKS_EXCLUDED(mutex_);
  void Read(Stream& stream) ABSL_LOCKS_EXCLUDED(mutex_);
  void Take(v1::CoordinatorMessage message) ABSL_LOCKS_EXCLUDED(mutex_);
  // Gives a grant or a stop to the gate, or keeps it until there is one.
  void GiveToGate(const v1::CoordinatorMessage& message) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Waits for something to send; returns it, or nullopt when the stream is over. A heartbeat when
  // nothing else came up.
  std::optional<v1::WorkerMessage> NextMessage() ABSL_LOCKS_EXCLUDED(mutex_);
  v1::WorkerMessage MakeHello() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  v1::WorkerMessage MakeHeartbeat() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Takes the end of a stream in; returns whether to dial again.
  bool GoesOn(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mutex_);

  const ControlClient::Options options_;

  Mutex mutex_;
  bool is_stopping_ ABSL_GUARDED_BY(mutex_) = false;
  bool stream_is_over_ ABSL_GUARDED_BY(mutex_) = false;
  bool was_welcomed_ ABSL_GUARDED_BY(mutex_) = false;  // on the stream at hand
  bool is_done_ ABSL_GUARDED_BY(mutex_) = false;       // Finished was taken in
  grpc::ClientContext* context_ ABSL_GUARDED_BY(mutex_) = nullptr;
  absl::Status refusal_ ABSL_GUARDED_BY(mutex_);
  std::optional<v1::Welcome> welcome_ ABSL_GUARDED_BY(mutex_);
  grant::GrantGate* gate_ ABSL_GUARDED_BY(mutex_) = nullptr;
  std::vector<v1::CoordinatorMessage> for_gate_ ABSL_GUARDED_BY(mutex_);  // came before Serve
  Outbox outbox_ ABSL_GUARDED_BY(mutex_);
  Progress progress_ ABSL_GUARDED_BY(mutex_);

  std::thread writer_;
};

}  // namespace sotto::control

#endif  // SOTTO_WORKER_CONTROL_SESSION_H_
