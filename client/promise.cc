#include "client/promise.h"

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

}  // namespace

std::string Promise(const v1::PrivacyPlan& privacy, double epsilon) {
  if (privacy.not_private()) {
    return "This job is not private: what it streams, and its model, may reveal any record of its "
           "data.";
  }
  return absl::StrFormat(
      "Publishing everything this job streams, and its model, changes what anyone can conclude "
      "about %s by at "
      "most epsilon = %.4g, delta = %.3g. Unit: one record; a person with several is protected "
      "less. Not covered: "
      "timing, data-steward views, files on the coordinator's machine, the same people in another "
      "dataset.",
      Protected(privacy.adjacency()), epsilon, privacy.delta());
}

}  // namespace sotto::client
