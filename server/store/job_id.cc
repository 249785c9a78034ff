#include "server/store/job_id.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace sotto::store {

std::string JobIdOf(int64_t number) { return absl::StrCat("job-", number); }

absl::StatusOr<int64_t> JobNumberOf(absl::string_view id) {
  absl::string_view digits = id;
  int64_t number = 0;
  // Only one spelling: JobIdOf must give it back ("job-01" and "job-+1" parse too).
  if (!absl::ConsumePrefix(&digits, "job-") || !absl::SimpleAtoi(digits, &number) || number < 1 ||
      JobIdOf(number) != id) {
    return JobNotFoundError(id);
  }
  return number;
}

absl::Status JobNotFoundError(absl::string_view id) {
  return absl::NotFoundError(absl::StrCat("there is no job '", id, "'"));
}

}  // namespace sotto::store
