// Workers as processes of this host.
#ifndef SOTTO_SERVER_LAUNCHER_POSIX_LAUNCHER_H_
#define SOTTO_SERVER_LAUNCHER_POSIX_LAUNCHER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/fd.h"
#include "common/base/mutex.h"
#include "server/launcher/launcher.h"

namespace sotto::launcher {

// Thread-safe. One thread polls the pidfds of all watched processes; it reaps children and reads
// exit-R.json. Destruction ends the watch, not the processes.
class PosixLauncher : public Launcher {
 public:
  // `worker_binary` is made absolute; it is looked for at Launch. RESOURCE_EXHAUSTED: descriptors.
  static absl::StatusOr<std::unique_ptr<PosixLauncher>> Create(const std::string& worker_binary,
                                                               ExitCallback on_exit);
  ~PosixLauncher() override;

  absl::StatusOr<std::vector<WorkerProcess>> Launch(const LaunchRequest& request) override;
  void Adopt(const LaunchRequest& request, const std::vector<WorkerProcess>& processes) override;
  absl::Status Signal(const WorkerProcess& process, int signal) override;

 private:
  struct Watched {
    std::string job;
    int64_t attempt = 0;
    int rank = 0;
    std::string run_directory;
    UniqueFd process;  // pidfd; none: gone before it could be watched
    bool child = false;
  };

  PosixLauncher(std::string worker_binary, std::string boot_id, UniqueFd wake,
                ExitCallback on_exit);

  void Watch(std::vector<Watched> watched) ABSL_LOCKS_EXCLUDED(mutex_);
  void Wake();
  void WatchLoop() ABSL_LOCKS_EXCLUDED(mutex_);
  void Report(const Watched& watched) const;

  const std::string worker_binary_;
  const std::string boot_id_;
  const UniqueFd wake_;  // eventfd: something was added, or the watch ends
  const ExitCallback on_exit_;

  Mutex mutex_;
  std::vector<Watched> added_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;

  std::thread thread_;
};

}  // namespace sotto::launcher

#endif  // SOTTO_SERVER_LAUNCHER_POSIX_LAUNCHER_H_
