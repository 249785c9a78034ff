#include "worker/grant/grant_gate.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace sotto::grant {

absl::StatusOr<StepGrant> GrantGate::Authorize(int64_t step) {
  std::optional<int64_t> request;
  {
    MutexLock lock(&mutex_);
    if (step < next_step_) {
      return absl::FailedPreconditionError(absl::StrCat(
          "step ", step, " was authorised before; steps are authorised once, in order"));
    }
    request = TakeRequest(step);
  }
  if (request.has_value() && options_.request_more) options_.request_more(*request);

  MutexLock lock(&mutex_);
  auto is_decided = [this, step]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    return StopsNow(step) || IsGranted(step);
  };
  const bool decided = options_.clock->AwaitUntil(
      mutex_, absl::Condition(&is_decided), options_.clock->Now() + options_.coordinator_grace);
  if (!decided) {
    return absl::DeadlineExceededError(
        absl::StrCat("step ", step, " was not granted for ",
                     absl::FormatDuration(options_.coordinator_grace), "; is the coordinator up?"));
  }
  if (StopsNow(step)) return absl::CancelledError(absl::StrCat("stopped before step ", step));
  next_step_ = step + 1;
  return StepGrant(step, options_.attempt);
}

absl::Status GrantGate::Extend(const Grant& grant) {
  if (grant.attempt != options_.attempt) {
    return absl::AbortedError(absl::StrCat("grant of attempt ", grant.attempt,
                                           " refused: this is attempt ", options_.attempt));
  }
  if (grant.first_step < 0 || grant.first_step >= grant.end_step) {
    return absl::InvalidArgumentError(absl::StrCat("grant of steps [", grant.first_step, ", ",
                                                   grant.end_step, ") is empty or negative"));
  }
  MutexLock lock(&mutex_);
  // Used-up grants are dropped, except the latest: its length says when to ask for more.
  while (grants_.size() > 1 && grants_.front().end_step <= next_step_) {
    grants_.erase(grants_.begin());
  }
  if (std::find(grants_.begin(), grants_.end(), grant) == grants_.end()) grants_.push_back(grant);
  return absl::OkStatus();
}

void GrantGate::Stop(StopMode mode) {
  auto strength = [](StopMode m) {
    return m == StopMode::kFinish ? 0 : m == StopMode::kCheckpoint ? 1 : 2;
  };
  MutexLock lock(&mutex_);
  if (!stop_.has_value() || strength(mode) > strength(*stop_)) stop_ = mode;
}

std::optional<StopMode> GrantGate::stop_mode() const {
  MutexLock lock(&mutex_);
  return stop_;
}

int64_t GrantGate::granted_end() const {
  MutexLock lock(&mutex_);
  int64_t end = 0;
  for (const Grant& grant : grants_) end = std::max(end, grant.end_step);
  return end;
}

int64_t GrantGate::next_step() const {
  MutexLock lock(&mutex_);
  return next_step_;
}

bool GrantGate::IsGranted(int64_t step) const {
  return std::any_of(grants_.begin(), grants_.end(), [step](const Grant& grant) {
    return grant.first_step <= step && step < grant.end_step;
  });
}

bool GrantGate::StopsNow(int64_t step) const {
  if (!stop_.has_value()) return false;
  return *stop_ != StopMode::kFinish || !IsGranted(step);
}

std::optional<int64_t> GrantGate::TakeRequest(int64_t step) {
  int64_t from = step;
  if (IsGranted(step)) {
    const Grant& latest =
        *std::max_element(grants_.begin(), grants_.end(),
                          [](const Grant& a, const Grant& b) { return a.end_step < b.end_step; });
    if (latest.end_step - step > (latest.end_step - latest.first_step) / 2) return std::nullopt;
    from = latest.end_step;
  }
  if (stop_.has_value() || from >= options_.end_step || from <= requested_from_)
    return std::nullopt;
  requested_from_ = from;
  return from;
}

}  // namespace sotto::grant
