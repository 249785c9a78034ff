// How `sotto` ends, for scripts.
#ifndef SOTTO_CLIENT_EXIT_CODE_H_
#define SOTTO_CLIENT_EXIT_CODE_H_

#include "absl/status/status.h"
#include "proto/sotto/v1/job.pb.h"

namespace sotto::client {

enum class ExitCode : int {
  kOk = 0,
  kJobFailed = 1,  // the job failed or was cancelled
  kUsage = 2,      // arguments, the spec or its data
  kPermission = 3,
  kUnreachable = 4,
  kWaitTimeout = 5,       // the job is still alive
  kAdmissionRefused = 6,  // budget or quota
  kNotFound = 7,
  kInternal = 70,
};

// OK is kOk; a code without a place of its own is kInternal.
ExitCode ExitCodeOf(const absl::Status& status);

bool IsTerminal(v1::JobState state);

// Of an ended job: a job that reached its budget ended well.
ExitCode ExitCodeOfJob(v1::JobState state);

}  // namespace sotto::client

#endif  // SOTTO_CLIENT_EXIT_CODE_H_
