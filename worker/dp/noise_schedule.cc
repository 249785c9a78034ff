#include "worker/dp/noise_schedule.h"

#include <cmath>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace sotto::dp {

namespace {

absl::Status CheckMultiplier(const char* name, double value) {
  if (std::isfinite(value) && value >= 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(name, " must be finite and not negative, but is ", value));
}

}  // namespace

absl::StatusOr<NoiseSchedule> NoiseSchedule::Create(std::vector<NoiseSegment> segments) {
  if (segments.empty() || segments.front().first_step != 0) {
    return absl::InvalidArgumentError("the noise schedule must begin at step 0");
  }
  for (size_t i = 0; i < segments.size(); ++i) {
    if (i > 0 && segments[i].first_step <= segments[i - 1].first_step) {
      return absl::InvalidArgumentError(
          absl::StrCat("the noise schedule's segments must ascend, but ", segments[i].first_step,
                       " follows ", segments[i - 1].first_step));
    }
    RETURN_IF_ERROR(CheckMultiplier("gradient_multiplier", segments[i].gradient_multiplier));
    RETURN_IF_ERROR(CheckMultiplier("loss_multiplier", segments[i].loss_multiplier));
    RETURN_IF_ERROR(
        CheckMultiplier("clip_fraction_multiplier", segments[i].clip_fraction_multiplier));
    RETURN_IF_ERROR(CheckMultiplier("accuracy_multiplier", segments[i].accuracy_multiplier));
  }
  return NoiseSchedule(std::move(segments));
}

const NoiseSegment& NoiseSchedule::At(int64_t step) const {
  size_t segment = segments_.size() - 1;
  while (segment > 0 && segments_[segment].first_step > step) --segment;
  return segments_[segment];
}

}  // namespace sotto::dp
