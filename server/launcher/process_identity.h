// Who a process is: what tells it from a later process with the same id.
#ifndef SOTTO_SERVER_LAUNCHER_PROCESS_IDENTITY_H_
#define SOTTO_SERVER_LAUNCHER_PROCESS_IDENTITY_H_

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "common/base/fd.h"
#include "server/launcher/launcher.h"

namespace sotto::launcher {

// Of the running kernel; a new one at every boot.
absl::StatusOr<std::string> ReadBootId();

// Field 22 of /proc/PID/stat. NOT_FOUND: no such process.
absl::StatusOr<uint64_t> ReadStartTime(pid_t pid);

// A descriptor of exactly this process: opened first, then the start time is checked, so that
// signals and waits through it can never reach another process. NOT_FOUND: the process is gone, or
// its id has a new owner.
absl::StatusOr<UniqueFd> OpenProcess(const WorkerProcess& process);

}  // namespace sotto::launcher

#endif  // SOTTO_SERVER_LAUNCHER_PROCESS_IDENTITY_H_
