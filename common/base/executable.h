#ifndef SOTTO_COMMON_BASE_EXECUTABLE_H_
#define SOTTO_COMMON_BASE_EXECUTABLE_H_

#include <string>

#include "absl/strings/string_view.h"

namespace sotto {

// The path of `name` in the folder of this process's executable, links resolved. Whether a file is
// there is not looked at.
std::string BesideThisExecutable(absl::string_view name);

}  // namespace sotto

#endif  // SOTTO_COMMON_BASE_EXECUTABLE_H_
