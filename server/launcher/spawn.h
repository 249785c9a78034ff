// One worker process, from descriptors and arguments.
#ifndef SOTTO_SERVER_LAUNCHER_SPAWN_H_
#define SOTTO_SERVER_LAUNCHER_SPAWN_H_

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "common/base/fd.h"
#include "server/launcher/launcher.h"

namespace sotto::launcher {

// The descriptors a worker inherits besides 0, 1 and 2; all others are closed.
inline constexpr int kTokenDescriptor = 3;
inline constexpr int kMemoryDescriptor = 4;

// Memory of `bytes` that processes share by inheriting it; it is gone with the last of them.
absl::StatusOr<UniqueFd> CreateSharedMemory(const std::string& name, int64_t bytes);

// Starts one rank of `request` in a process group of its own, with no signal blocked or ignored, in
// the run directory, with output appended to rank-R.log. No parent-death signal: it outlives the
// coordinator.
absl::StatusOr<pid_t> SpawnWorker(const std::string& binary, const LaunchRequest& request, int rank,
                                  const UniqueFd& memory);

}  // namespace sotto::launcher

#endif  // SOTTO_SERVER_LAUNCHER_SPAWN_H_
