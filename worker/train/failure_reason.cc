#include "worker/train/failure_reason.h"

#include <string>

#include "absl/strings/cord.h"
#include "absl/types/optional.h"

namespace sotto::train {
namespace {

constexpr char kPayload[] = "sotto/train/failure_reason";

}  // namespace

absl::Status WithFailureReason(absl::Status status, FailureReason reason) {
  status.SetPayload(kPayload,
                    absl::Cord(std::string(1, static_cast<char>('0' + static_cast<int>(reason)))));
  return status;
}

FailureReason FailureReasonOf(const absl::Status& status) {
  const absl::optional<absl::Cord> payload = status.GetPayload(kPayload);
  if (!payload.has_value()) return FailureReason::kOther;
  return static_cast<FailureReason>(std::string(*payload)[0] - '0');
}

}  // namespace sotto::train
