#include "tools/check/command.h"

#include <iostream>

namespace sotto::check {

int Fail(const absl::Status& status) {
  std::cerr << "sotto-check: " << status.message() << "\n";
  return kFailed;
}

}  // namespace sotto::check
