// The coordinator's gRPC server: its services, health, reflection and its graceful end.
#ifndef SOTTO_SERVER_API_SERVER_H_
#define SOTTO_SERVER_API_SERVER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "server/ledger/dataset_registry.h"
#include "server/planning/planner.h"
#include "server/scheduler/scheduler.h"
#include "server/store/job_reader.h"

namespace sotto::api {

// Thread-safe once started.
class Server {
 public:
  struct Options {
    // "unix:/path" (its callers hold every role) or "host:port" (its callers are readers; port 0:
    // any free one).
    std::vector<std::string> listen;
    // These outlive the server.
    scheduler::Scheduler* scheduler = nullptr;
    store::JobReader* jobs = nullptr;
    ledger::DatasetRegistry* datasets = nullptr;
    Clock* clock = nullptr;
    planning::HostFacts host;  // what plans may use
    std::string state_dir;     // holds jobs/<id>/attempt-<n>/rank-<r>.log
    std::string version;
    int protocol_version = 1;
  };

  // Binds every address, or none: UNAVAILABLE names the one that is taken. INVALID_ARGUMENT: no
  // address, or one that cannot be parsed. A unix socket gets mode 0600 before anyone can connect;
  // a socket file that a dead coordinator left is replaced.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const Options& options);
  // Drains with no grace.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // What was bound, in the order of Options::listen, ports filled in.
  const std::vector<std::string>& addresses() const;

  // Health says NOT_SERVING, calls that change something get UNAVAILABLE, streams end with
  // UNAVAILABLE, calls in flight get up to `grace` to end. Blocks; idempotent. The scheduler and
  // the readers must still answer while it runs.
  void Drain(absl::Duration grace);

 private:
  struct Parts;
  explicit Server(std::unique_ptr<Parts> parts);

  std::unique_ptr<Parts> parts_;
};

}  // namespace sotto::api

#endif  // SOTTO_SERVER_API_SERVER_H_
