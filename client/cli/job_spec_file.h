// The spec that a verb was given.
#ifndef SOTTO_CLIENT_CLI_JOB_SPEC_FILE_H_
#define SOTTO_CLIENT_CLI_JOB_SPEC_FILE_H_

#include <string>

#include "absl/status/statusor.h"
#include "proto/sotto/v1/spec.pb.h"

namespace sotto::cli {

// Reads `path` ("-": standard input, as YAML) strictly. NOT_FOUND, or INVALID_ARGUMENT with every
// violation and its line.
absl::StatusOr<v1::JobSpec> ReadJobSpec(const std::string& path);

}  // namespace sotto::cli

#endif  // SOTTO_CLIENT_CLI_JOB_SPEC_FILE_H_
