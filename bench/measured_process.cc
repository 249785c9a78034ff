#include "bench/measured_process.h"

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/status_macros.h"

namespace sotto::bench {

absl::StatusOr<std::unique_ptr<MeasuredProcess>> MeasuredProcess::Start(
    const std::string& program, const std::vector<std::string>& arguments) {
  ASSIGN_OR_RETURN(std::unique_ptr<ChildProcess> child, ChildProcess::Start(program, arguments));
  std::unique_ptr<MeasuredProcess> process(new MeasuredProcess(std::move(child)));
  RETURN_IF_ERROR(process->Read().status());
  return process;
}

absl::StatusOr<StepTimes> MeasuredProcess::Step() {
  child_->Tell();
  return Read();
}

absl::StatusOr<StepTimes> MeasuredProcess::Read() {
  ASSIGN_OR_RETURN(const std::string line, child_->ReadLine());
  const std::vector<std::string> words = absl::StrSplit(line, ' ');
  StepTimes times;
  // A peer does not count its tensors.
  const bool counts_tensors = words.size() == 5;
  if ((words.size() != 4 && !counts_tensors) || !absl::SimpleAtod(words[0], &times.seconds) ||
      !absl::SimpleAtod(words[1], &times.cpu_seconds) ||
      !absl::SimpleAtod(words[2], &times.release_seconds) ||
      !absl::SimpleAtoi(words[3], &peak_bytes_) ||
      (counts_tensors && !absl::SimpleAtoi(words[4], &tensor_peak_bytes_))) {
    return absl::InternalError(absl::StrCat("no measurement: ", line));
  }
  return times;
}

}  // namespace sotto::bench
