#include "client/cli/job_spec_file.h"

#include <iostream>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/spec/spec_parser.h"

namespace sotto::cli {

absl::StatusOr<v1::JobSpec> ReadJobSpec(const std::string& path) {
  std::string text;
  if (path == "-") {
    text.assign(std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>());
  } else {
    ASSIGN_OR_RETURN(text, ReadFile(path));
  }
  absl::StatusOr<v1::JobSpec> spec = spec::ParseJobSpec(text, spec::FormatOf(path));
  if (!spec.ok()) {
    return absl::Status(spec.status().code(), absl::StrCat(path, ":\n", spec.status().message()));
  }
  return spec;
}

}  // namespace sotto::cli
