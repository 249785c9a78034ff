#include "server/api/errors.h"

#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "server/ledger/budget_refusal.h"

namespace sotto::api {
namespace {

constexpr absl::string_view kTypePrefix = "type.googleapis.com/";
constexpr absl::string_view kDomain = "sotto";

template <typename Detail>
std::string TypeUrl() {
  return absl::StrCat(kTypePrefix, Detail::descriptor()->full_name());
}

template <typename Detail>
void SetDetail(absl::Status& status, const Detail& detail) {
  status.SetPayload(TypeUrl<Detail>(), absl::Cord(detail.SerializeAsString()));
}

absl::Status AddRefusal(absl::Status status, const ledger::BudgetRefusal& refusal) {
  return WithReason(std::move(status), "BUDGET_EXCEEDED",
                    {{"dataset", refusal.dataset},
                     {"budget_epsilon", absl::StrCat(refusal.budget_epsilon)},
                     {"budget_delta", absl::StrCat(refusal.budget_delta)},
                     {"committed_epsilon", absl::StrCat(refusal.committed_epsilon)},
                     {"reserved_epsilon", absl::StrCat(refusal.reserved_epsilon)},
                     {"requested_epsilon", absl::StrCat(refusal.requested_epsilon)},
                     {"total_epsilon", absl::StrCat(refusal.total_epsilon)},
                     {"requested_steps", absl::StrCat(refusal.requested_steps)},
                     {"largest_steps", absl::StrCat(refusal.largest_steps)}});
}

absl::Status AddRetry(absl::Status status) {
  google::rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_seconds(1);
  SetDetail(status, retry);
  return status;
}

}  // namespace

absl::Status WithReason(absl::Status status, absl::string_view reason,
                        const std::map<std::string, std::string>& metadata) {
  google::rpc::ErrorInfo info;
  info.set_reason(std::string(reason));
  info.set_domain(std::string(kDomain));
  for (const auto& [key, value] : metadata) (*info.mutable_metadata())[key] = value;
  SetDetail(status, info);
  return status;
}

absl::Status BadRequestError(const std::vector<FieldViolation>& violations) {
  std::vector<std::string> lines;
  for (const FieldViolation& violation : violations) {
    lines.push_back(absl::StrCat(violation.field, " ", violation.description));
  }
  return WithViolations(absl::InvalidArgumentError(absl::StrJoin(lines, "\n")), violations);
}

absl::Status WithViolations(absl::Status status, const std::vector<FieldViolation>& violations) {
  google::rpc::BadRequest request;
  for (const FieldViolation& violation : violations) {
    google::rpc::BadRequest::FieldViolation& detail = *request.add_field_violations();
    detail.set_field(violation.field);
    detail.set_description(violation.description);
  }
  SetDetail(status, request);
  return status;
}

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  absl::Status full = status;
  if (const auto refusal = ledger::GetBudgetRefusal(full)) full = AddRefusal(full, *refusal);
  if (absl::IsUnavailable(full)) full = AddRetry(full);

  google::rpc::Status details;
  details.set_code(static_cast<int>(full.code()));
  details.set_message(std::string(full.message()));
  full.ForEachPayload([&](absl::string_view type_url, const absl::Cord& payload) {
    if (!absl::StartsWith(type_url, "type.googleapis.com/google.rpc.")) return;
    google::protobuf::Any& detail = *details.add_details();
    detail.set_type_url(std::string(type_url));
    detail.set_value(std::string(payload));
  });
  return grpc::Status(static_cast<grpc::StatusCode>(full.code()), std::string(full.message()),
                      details.details().empty() ? "" : details.SerializeAsString());
}

}  // namespace sotto::api
