// The two forms of a job's id.
#ifndef SOTTO_SERVER_STORE_JOB_ID_H_
#define SOTTO_SERVER_STORE_JOB_ID_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace sotto::store {

// "job-<number>".
std::string JobIdOf(int64_t number);

// The number of an id. NOT_FOUND: `id` is in no form that JobIdOf gives, so that no job has it.
absl::StatusOr<int64_t> JobNumberOf(absl::string_view id);

absl::Status JobNotFoundError(absl::string_view id);

}  // namespace sotto::store

#endif  // SOTTO_SERVER_STORE_JOB_ID_H_
