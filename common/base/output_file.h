// Files that are written after minutes of work.
#ifndef SOTTO_COMMON_BASE_OUTPUT_FILE_H_
#define SOTTO_COMMON_BASE_OUTPUT_FILE_H_

#include <string>

#include "absl/status/status.h"

namespace sotto {

// Refuses, before the work, what could not be written after it. Creates nothing. INVALID_ARGUMENT:
// no name, a folder, a file without the right to write it, or one in a folder that is not there or
// not writable; says which.
absl::Status CheckOutputFile(const std::string& path);

}  // namespace sotto

#endif  // SOTTO_COMMON_BASE_OUTPUT_FILE_H_
