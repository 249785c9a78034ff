// The coordinator's composition root.
#ifndef SOTTO_SERVER_COORDINATOR_H_
#define SOTTO_SERVER_COORDINATOR_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace sotto {

enum class OnExit {
  kDrain,  // workers go on, and attach to the next coordinator
  kStop,   // workers save a checkpoint and end
};

// Owns everything that runs in the coordinator's process, in this order: the state directory's
// lock, the database, stores, the scheduler with its launcher, the gRPC server. Thread-compatible.
class Coordinator {
 public:
  struct Options {
    std::string state_dir;
    // Of clients and workers: "unix:/path", at most one, or "host:port". Without a Unix socket one
    // is made in a folder under /tmp; workers dial the Unix socket.
    std::vector<std::string> listen;
    int slots = 0;              // workers at a time; 0: one per core
    std::string worker_binary;  // empty: sotto-worker beside this executable
    OnExit on_exit = OnExit::kDrain;
    absl::Duration reattach_grace = absl::Seconds(30);
  };

  // Serves when it returns. FAILED_PRECONDITION: the state directory is in use, or read-only.
  // UNAVAILABLE: an address is taken. RESOURCE_EXHAUSTED: the disk is full. INVALID_ARGUMENT: an
  // option.
  static absl::StatusOr<std::unique_ptr<Coordinator>> Start(const Options& options);
  ~Coordinator();

  // What clients dial: the Unix socket first, then the others.
  const std::vector<std::string>& addresses() const;

  // Ends well, as `on_exit` says. Call once; blocks, up to about a minute with kStop.
  void Shutdown();

 private:
  struct Parts;
  explicit Coordinator(std::unique_ptr<Parts> parts);

  std::unique_ptr<Parts> parts_;
};

}  // namespace sotto

#endif  // SOTTO_SERVER_COORDINATOR_H_
