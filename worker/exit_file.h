// exit-<rank>.json: how a rank ended, for a coordinator that was away or cannot reap it.
#ifndef SOTTO_WORKER_EXIT_FILE_H_
#define SOTTO_WORKER_EXIT_FILE_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "proto/sotto/v1/worker_service.pb.h"

namespace sotto {

struct ExitIdentity {
  std::string job;
  int64_t attempt = 0;
  int rank = 0;
};

// Writes {"job", "attempt", "rank"} and the members of Finished as one JSON object, by rename.
// UNAVAILABLE and friends: the disk.
absl::Status WriteExitFile(const std::string& run_directory, const ExitIdentity& identity,
                           const v1::Finished& finished);

}  // namespace sotto

#endif  // SOTTO_WORKER_EXIT_FILE_H_
