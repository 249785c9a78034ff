#include "worker/train/phase_profile.h"

namespace sotto::train {

PhaseProfile::PhaseProfile(const Clock& clock) : clock_(clock) {
  constexpr std::array<absl::string_view, kPhases> kNames = {
      "sampling", "load",         "forward",         "first_backward",
      "norms",    "coefficients", "second_backward", "weight_gradients",
      "fold",     "gather",       "reduce",          "noise",
      "optimizer"};
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
  if (current_ != kNone) {
    totals_[current_].nanoseconds += absl::ToInt64Nanoseconds(now - since_);
  }
  since_ = now;
}

}  // namespace sotto::train
