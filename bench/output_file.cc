#include "bench/output_file.h"

#include <string>

#include "common/base/output_file.h"

namespace sotto::bench {

CLI::Validator OutputFile() {
  return CLI::Validator(
      [](const std::string& path) { return std::string(CheckOutputFile(path).message()); }, "FILE");
}

}  // namespace sotto::bench
