// Errors of files that say which file.
#ifndef SOTTO_COMMON_BASE_WITH_PATH_H_
#define SOTTO_COMMON_BASE_WITH_PATH_H_

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace sotto {

// The same code, "`path`: " before the message; OK stays OK.
inline absl::Status WithPath(const absl::Status& status, absl::string_view path) {
  if (status.ok()) return status;
  return absl::Status(status.code(), absl::StrCat(path, ": ", status.message()));
}

}  // namespace sotto

#endif  // SOTTO_COMMON_BASE_WITH_PATH_H_
