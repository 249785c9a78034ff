#include "worker/train/phase_profile.h"

#include <algorithm>

namespace sotto::train {

PhaseProfile::PhaseProfile(const Clock& clock, TakePeakBytes take_peak_bytes)
    : clock_(clock), take_peak_bytes_(take_peak_bytes) {
  constexpr std::array<absl::string_view, kPhases> kNames = {
      "sampling", "load",         "forward",         "first_backward",
      "norms",    "coefficients", "second_backward", "weight_gradients",
      "fold",     "gather",       "reduce",          "release",
      "update"};
  for (int phase = 0; phase < kPhases; ++phase) totals_[phase].name = kNames[phase];
}

void PhaseProfile::Clear() {
  for (Total& total : totals_) total = {.name = total.name};
}

int PhaseProfile::Enter(int phase) {
  ChargeCurrent();
  ++totals_[phase].count;
  const int outer = current_;
  current_ = phase;
  return outer;
}

void PhaseProfile::Leave(int outer) {
  ChargeCurrent();
  current_ = outer;
}

void PhaseProfile::ChargeCurrent() {
  const absl::Time now = clock_.Now();
  // Also between phases, so that the next one does not have what lived before it.
  const int64_t peak_bytes = take_peak_bytes_ == nullptr ? 0 : take_peak_bytes_();
  if (current_ != kNone) {
    Total& total = totals_[current_];
    total.nanoseconds += absl::ToInt64Nanoseconds(now - since_);
    total.peak_bytes = std::max(total.peak_bytes, peak_bytes);
  }
  since_ = now;
}

}  // namespace sotto::train
