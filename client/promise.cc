#include "client/promise.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"

namespace sotto::client {

namespace {

// What the adjacency protects.
absl::string_view Protected(absl::string_view adjacency) {
  if (adjacency == "zero_out") return "what one record says (not whether there is one)";
  if (adjacency == "replace_one") return "which record one of them is";
  return "one record";
}

// To four digits, upwards: what is promised is never below what may be spent.
std::string UpwardsText(double epsilon) {
  if (!(epsilon > 0) || !std::isfinite(epsilon)) return absl::StrFormat("%.4g", epsilon);
  const double unit = std::pow(10, std::floor(std::log10(epsilon)) - 3);
  // What is a whole number of units but for the division's rounding stays.
  return absl::StrFormat("%.4g", std::ceil(epsilon / unit * (1 - 1e-12)) * unit);
}

std::string BoundText(double epsilon, double delta) {
  return absl::StrFormat("at most epsilon = %s, delta = %.3g", UpwardsText(epsilon), delta);
}

}  // namespace

EpsilonBounds BoundsOf(const v1::JobPlan& plan) {
  const v1::PrivacyPlan& privacy = plan.privacy();
  EpsilonBounds bounds{privacy.epsilon(), privacy.epsilon(), privacy.delta()};
  // Shuffled batches are charged by the epoch.
  const int64_t steps_per_charge = std::max<int64_t>(1, privacy.sampler().steps_per_epoch());
  if (privacy.charged_steps() * steps_per_charge < privacy.planned_steps() + steps_per_charge) {
    return bounds;
  }
  bounds.reserved = std::max(privacy.epsilon(), privacy.reserved_epsilon());
  if (plan.dataset().budgeted()) {
    bounds.reserved_delta = std::max(privacy.delta(), plan.dataset().budget_delta());
  }
  return bounds;
}

std::string Promise(const v1::JobPlan& plan) {
  return PromiseAfter(plan, /*spent=*/0, /*lost_attempts=*/false);
}

std::string PromiseAfter(const v1::JobPlan& plan, double spent, bool lost_attempts) {
  const v1::PrivacyPlan& privacy = plan.privacy();
  if (privacy.not_private()) {
    return "This job is not private: what it streams, and its model, may reveal any record of its "
           "data.";
  }
  const EpsilonBounds bounds = BoundsOf(plan);
  const std::string planned = BoundText(std::max(spent, bounds.planned), privacy.delta());
  const std::string reserved = BoundText(std::max(spent, bounds.reserved), bounds.reserved_delta);
  std::string promised = planned;
  if (bounds.has_reserve()) {
    promised = lost_attempts || spent > bounds.planned
                   ? absl::StrCat(reserved, " (attempts were lost: with the crash reserve)")
                   : absl::StrCat(planned, " if no attempt is lost, and ", reserved,
                                  " with the crash reserve");
  }
  return absl::StrFormat(
      "Publishing everything this job streams, and its model, changes what anyone can conclude "
      "about %s by %s. Unit: one record; a person with several is protected less. Not covered: "
      "timing, data-steward views, files on the coordinator's machine, the same people in another "
      "dataset.",
      Protected(privacy.adjacency()), promised);
}

}  // namespace sotto::client
