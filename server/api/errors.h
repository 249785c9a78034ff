// From absl::Status to what a client gets: google.rpc.Status with typed details.
#ifndef SOTTO_SERVER_API_ERRORS_H_
#define SOTTO_SERVER_API_ERRORS_H_

#include <map>
#include <string>
#include <vector>

#include <grpcpp/support/status.h>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace sotto::api {

// One violated rule of a request.
struct FieldViolation {
  std::string field;  // path, such as "privacy.clip_norm"
  std::string description;
};

// Adds a google.rpc.ErrorInfo: `reason` is UPPER_SNAKE, the domain is "sotto". What varies in the
// message is in `metadata`.
absl::Status WithReason(absl::Status status, absl::string_view reason,
                        const std::map<std::string, std::string>& metadata = {});

// INVALID_ARGUMENT with a google.rpc.BadRequest that lists every violation; the message has a line
// for each.
absl::Status BadRequestError(const std::vector<FieldViolation>& violations);
// The same details for a status that has its own message.
absl::Status WithViolations(absl::Status status, const std::vector<FieldViolation>& violations);

// The status as gRPC sends it. Payloads that WithReason and BadRequestError added become details;
// so do the violations of planning and the numbers of a budget refusal (ErrorInfo BUDGET_EXCEEDED).
// UNAVAILABLE gets a RetryInfo of one second.
grpc::Status ToGrpcStatus(const absl::Status& status);

}  // namespace sotto::api

#endif  // SOTTO_SERVER_API_ERRORS_H_
