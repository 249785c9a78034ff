#include "server/api/ledger_service.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "server/api/caller.h"
#include "server/api/dataset_intake.h"
#include "server/api/errors.h"
#include "server/api/page_token.h"
#include "server/api/unary_call.h"

namespace sotto::api {
namespace {

constexpr absl::string_view kDatasetsFilter = "datasets";

Audience AudienceOf(grpc::CallbackServerContext& context) {
  return RoleOfPeer(context.peer()) == Role::kEveryRole ? Audience::kSteward : Audience::kReaders;
}

std::string ChargesFilter(const v1::ListChargesRequest& request) {
  return absl::StrCat("charges-", request.dataset());
}

struct ChargesPosition {
  int64_t after_row = 0;
  int limit = 0;
};

absl::StatusOr<ChargesPosition> PositionOf(const v1::ListChargesRequest& request) {
  ChargesPosition position;
  ASSIGN_OR_RETURN(position.limit, PageSize(request.page_size()));
  ASSIGN_OR_RETURN(position.after_row,
                   ReadNumberToken(ChargesFilter(request), request.page_token()));
  return position;
}

struct DatasetsPosition {
  std::string after_name;
  int limit = 0;
};

absl::StatusOr<DatasetsPosition> PositionOf(const v1::ListDatasetsRequest& request) {
  DatasetsPosition position;
  ASSIGN_OR_RETURN(position.limit, PageSize(request.page_size()));
  ASSIGN_OR_RETURN(position.after_name, ReadPageToken(kDatasetsFilter, request.page_token()));
  return position;
}

}  // namespace

grpc::ServerUnaryReactor* LedgerService::RegisterDataset(grpc::CallbackServerContext* context,
                                                         const v1::RegisterDatasetRequest* request,
                                                         v1::Dataset* response) {
  UnaryCall<v1::Dataset> call(context, response, AudienceOf(*context));
  const absl::Status status =
      draining_ ? absl::UnavailableError("the coordinator is shutting down; try again later")
                : RequireEveryRole(context->peer(), "register datasets");
  if (!status.ok()) {
    call.Fail(status);
    return call.reactor();
  }
  // `request` lives until the call ends.
  const bool queued = intake_thread_.TryRun([this, call, request] {
    absl::StatusOr<v1::Dataset> dataset = ExamineDataset(*request);
    if (!dataset.ok()) return call.Fail(dataset.status());
    datasets_.Register(*std::move(dataset), [call](absl::StatusOr<v1::Dataset> registered) {
      call.End(std::move(registered));
    });
  });
  if (!queued) call.Fail(absl::UnavailableError("too many registrations are waiting"));
  return call.reactor();
}

grpc::ServerUnaryReactor* LedgerService::GetDataset(grpc::CallbackServerContext* context,
                                                    const v1::GetDatasetRequest* request,
                                                    v1::Dataset* response) {
  UnaryCall<v1::Dataset> call(context, response, AudienceOf(*context));
  datasets_.Get(request->name(),
                [call](absl::StatusOr<v1::Dataset> dataset) { call.End(std::move(dataset)); });
  return call.reactor();
}

grpc::ServerUnaryReactor* LedgerService::ListDatasets(grpc::CallbackServerContext* context,
                                                      const v1::ListDatasetsRequest* request,
                                                      v1::ListDatasetsResponse* response) {
  UnaryCall<v1::ListDatasetsResponse> call(context, response, AudienceOf(*context));
  const absl::StatusOr<DatasetsPosition> position = PositionOf(*request);
  if (!position.ok()) {
    call.Fail(position.status());
    return call.reactor();
  }
  // One more than the page tells whether there is a next one.
  datasets_.List(position->after_name, position->limit + 1,
                 [call, limit = position->limit](absl::StatusOr<std::vector<v1::Dataset>> found) {
                   if (!found.ok()) return call.Fail(found.status());
                   v1::ListDatasetsResponse answer;
                   for (v1::Dataset& dataset : *found) {
                     if (answer.datasets_size() == limit) {
                       answer.set_next_page_token(
                           MakePageToken(kDatasetsFilter, answer.datasets(limit - 1).name()));
                       break;
                     }
                     *answer.add_datasets() = std::move(dataset);
                   }
                   call.Answer(std::move(answer));
                 });
  return call.reactor();
}

grpc::ServerUnaryReactor* LedgerService::ListCharges(grpc::CallbackServerContext* context,
                                                     const v1::ListChargesRequest* request,
                                                     v1::ListChargesResponse* response) {
  UnaryCall<v1::ListChargesResponse> call(context, response, AudienceOf(*context));
  const absl::StatusOr<ChargesPosition> position = PositionOf(*request);
  if (!position.ok()) {
    call.Fail(position.status());
    return call.reactor();
  }
  datasets_.ListEntries(
      request->dataset(), position->after_row, position->limit,
      [call, filter = ChargesFilter(*request)](absl::StatusOr<ledger::EntryPage> page) {
        if (!page.ok()) return call.Fail(page.status());
        v1::ListChargesResponse answer;
        for (v1::LedgerEntry& entry : page->entries) *answer.add_entries() = std::move(entry);
        if (page->next_after_row > 0) {
          answer.set_next_page_token(MakePageToken(filter, absl::StrCat(page->next_after_row)));
        }
        call.Answer(std::move(answer));
      });
  return call.reactor();
}

grpc::ServerUnaryReactor* LedgerService::VerifyLedger(grpc::CallbackServerContext* context,
                                                      const v1::VerifyLedgerRequest* request,
                                                      v1::VerifyLedgerResponse* response) {
  UnaryCall<v1::VerifyLedgerResponse> call(context, response, AudienceOf(*context));
  datasets_.Verify(
      [call](absl::StatusOr<v1::VerifyLedgerResponse> verified) { call.End(std::move(verified)); });
  return call.reactor();
}

}  // namespace sotto::api
