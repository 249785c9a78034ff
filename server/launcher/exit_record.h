// exit-R.json: the last word of a worker, for a coordinator that cannot reap it.
#ifndef SOTTO_SERVER_LAUNCHER_EXIT_RECORD_H_
#define SOTTO_SERVER_LAUNCHER_EXIT_RECORD_H_

#include <cstdint>
#include <optional>
#include <string>

#include "server/launcher/launcher.h"

namespace sotto::launcher {

// Absent when the file is missing, unreadable, or of another job, attempt or rank.
std::optional<ExitRecord> ReadExitRecord(const std::string& run_directory, const std::string& job,
                                         int64_t attempt, int rank);

}  // namespace sotto::launcher

#endif  // SOTTO_SERVER_LAUNCHER_EXIT_RECORD_H_
