#include "client/promise.h"

#include "absl/strings/str_format.h"

namespace sotto::client {

std::string Promise(const v1::PrivacyPlan& privacy, double epsilon) {
  if (privacy.not_private()) {
    return "This job is not private: what it streams, and its model, may reveal any record of its "
           "data.";
  }
  return absl::StrFormat(
      "Publishing everything this job streams, and its model, changes what anyone can conclude "
      "about one record by at "
      "most epsilon = %.4g, delta = %.3g. Unit: one record; a person with several is protected "
      "less. Not covered: "
      "timing, data-steward views, files on the coordinator's machine, the same people in another "
      "dataset.",
      epsilon, privacy.delta());
}

}  // namespace sotto::client
