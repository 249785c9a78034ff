// The worker's side of the coordinator protocol (WorkerService.Attach).
//
// 1. Start dials; the first message up is Hello, the first down Welcome (AwaitWelcome).
// 2. Serve connects the gate: grants and stops that arrived before it are given to it first.
// 3. Report and friends put messages into a queue; reports stay there until the coordinator
// acknowledges their step.
// 4. When the stream breaks, the client dials again after 50 ms, doubling to 2 s, says Hello with
// the next step, and sends
//    what was not acknowledged again (the coordinator keeps one report per (job, attempt, step)).
//    Grants come again and are not charged again. Meanwhile the trainer goes on until the gate is
//    empty, and for the grace after that.
// 5. A refusal (UNAUTHENTICATED, ABORTED, FAILED_PRECONDITION, NOT_FOUND) is final: the gate is
// stopped with kAbort.
#ifndef SOTTO_WORKER_CONTROL_CONTROL_CLIENT_H_
#define SOTTO_WORKER_CONTROL_CONTROL_CLIENT_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "proto/sotto/v1/worker_service.pb.h"
#include "worker/dp/noised_metrics.h"
#include "worker/grant/grant_gate.h"

namespace sotto::control {

inline constexpr int kProtocolVersion = 1;

// What goes with a step's metrics; public, but for the peaks, in which the drawn lengths show: they
// are sent only beside raw values.
struct ReportContext {
  double learning_rate = 0;
  double smoothed_mean_loss = 0;  // of the noised losses so far
  double steps_per_second = 0;    // 0: unknown
  std::optional<double> evaluation_loss;
  int64_t tensor_peak_bytes = 0;
  int64_t resident_peak_bytes = 0;
};

class Session;

// Of the last second or so; sent with every heartbeat.
struct Progress {
  int64_t started_steps = 0;
  double seconds_per_step = 0;
  int64_t peak_bytes = 0;         // resident
  int64_t tensor_peak_bytes = 0;  // worker/memory's high-water mark
};

// Thread-safe.
class ControlClient {
 public:
  struct Options {
    std::string coordinator;  // gRPC target: "unix:/path" or "host:port"
    std::string job;
    int64_t attempt = 0;
    int rank = 0;
    std::string attempt_token;  // hex
    Clock* clock = nullptr;     // required; outlives the client
    absl::Duration first_backoff = absl::Milliseconds(50);
    absl::Duration max_backoff = absl::Seconds(2);
    absl::Duration heartbeat_interval = absl::Seconds(1);
  };

  static absl::StatusOr<std::unique_ptr<ControlClient>> Start(Options options);

  // Cancels the stream and joins. What was not acknowledged is lost: see Finish.
  ~ControlClient();

  // The coordinator's refusal, or DEADLINE_EXCEEDED. The secret is in it: take it out and wipe it
  // (see crypto::Secret).
  absl::StatusOr<v1::Welcome> AwaitWelcome(absl::Duration timeout);

  // `gate` outlives the client, or a call of Serve(nullptr).
  void Serve(grant::GrantGate* gate);

  // For GrantGate::Options::request_more on rank 0. Sent again after a reconnect until a grant
  // answers it.
  void RequestSteps(int64_t first_step);

  // Rank 0. Takes only noised metrics: nothing else can be reported of a step.
  void Report(const dp::NoisedMetrics& metrics, const ReportContext& context);
  void ReportEvaluation(int64_t step, double evaluation_loss);
  void ReportCheckpoint(int64_t step, const std::string& directory);
  // Public text for the job's events.
  void ReportNote(const std::string& text);
  // Rank 0, when the Welcome asks for it.
  void ReportDevice(const v1::DeviceProfile& profile);
  void SetProgress(const Progress& progress);

  // Waits until every report is acknowledged and Finished was sent and the coordinator closed the
  // stream. DEADLINE_EXCEEDED: no coordinator; the caller's exit file tells it later.
  absl::Status Finish(const v1::Finished& finished, absl::Duration timeout);

 private:
  explicit ControlClient(std::unique_ptr<Session> session);

  std::unique_ptr<Session> session_;
};

}  // namespace sotto::control

#endif  // SOTTO_WORKER_CONTROL_CONTROL_CLIENT_H_
