#include "server/api/dataset_intake.h"

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"
#include "common/dataset/token_file.h"
#include "server/accounting/adjacency.h"
#include "server/api/errors.h"

namespace sotto::api {
namespace {

constexpr absl::string_view kPrivacyUnit = "record";
constexpr size_t kMaxNameLength = 63;

bool IsName(const std::string& name) {
  if (name.empty() || name.size() > kMaxNameLength) return false;
  for (char c : name) {
    if (!absl::ascii_islower(c) && !absl::ascii_isdigit(c) && c != '-') return false;
  }
  return true;
}

void CheckBudget(const v1::Budget& budget, std::vector<FieldViolation>& violations) {
  if (!std::isfinite(budget.epsilon()) || budget.epsilon() <= 0) {
    violations.push_back(
        {"budget.epsilon", absl::StrCat("must be finite and positive, but is ", budget.epsilon())});
  }
  if (!(budget.delta() > 0 && budget.delta() < 1)) {
    violations.push_back(
        {"budget.delta", absl::StrCat("must be above 0 and below 1, but is ", budget.delta())});
  }
  if (!budget.adjacency().empty() && !accounting::IsAdjacency(budget.adjacency())) {
    violations.push_back(
        {"budget.adjacency",
         absl::StrCat("must be one of ", absl::StrJoin(accounting::kAdjacencies, ", "), ", but is ",
                      budget.adjacency())});
  }
  if (!budget.privacy_unit().empty() && budget.privacy_unit() != kPrivacyUnit) {
    violations.push_back({"budget.privacy_unit", absl::StrCat("must be ", kPrivacyUnit, ", but is ",
                                                              budget.privacy_unit())});
  }
}

absl::Status CheckRequest(const v1::RegisterDatasetRequest& request) {
  std::vector<FieldViolation> violations;
  if (!IsName(request.name())) {
    violations.push_back({"name", absl::StrCat("must be 1 to 63 of a-z, 0-9 and -, but is \"",
                                               request.name(), "\"")});
  }
  if (request.path().empty() || request.path()[0] != '/') {
    violations.push_back(
        {"path", absl::StrCat("must be an absolute path on the coordinator's host, but is \"",
                              request.path(), "\"")});
  }
  if (request.max_records() < 1) {
    violations.push_back(
        {"max_records", absl::StrCat("must be at least 1: a public bound, never the exact "
                                     "number; but is ",
                                     request.max_records())});
  }
  if (request.no_budget() && request.has_budget()) {
    violations.push_back({"budget", "must be unset when no_budget is true"});
  } else if (!request.no_budget() && !request.has_budget()) {
    violations.push_back({"budget", "is required, unless no_budget says that the data are public"});
  } else if (request.has_budget()) {
    CheckBudget(request.budget(), violations);
  }
  return violations.empty() ? absl::OkStatus() : BadRequestError(violations);
}

v1::Dataset MakeDataset(const v1::RegisterDatasetRequest& request,
                        const dataset::TokenFileHeader& header) {
  v1::Dataset dataset;
  dataset.set_name(request.name());
  dataset.set_path(request.path());
  dataset.set_max_records(request.max_records());
  dataset.set_vocabulary_size(header.vocabulary_size);
  dataset.set_max_length(header.max_length);
  dataset.set_classes(header.classes);
  if (header.has_values()) {
    for (int32_t size : header.shape) dataset.add_image_shape(size);
    dataset.set_targets(header.targets);
  }
  dataset.set_budgeted(request.has_budget());
  if (request.has_budget()) {
    v1::Budget& budget = *dataset.mutable_budget();
    budget = request.budget();
    if (budget.adjacency().empty()) {
      budget.set_adjacency(std::string(accounting::kAddOrRemoveOne));
    }
    budget.set_privacy_unit(std::string(kPrivacyUnit));
  }
  return dataset;
}

}  // namespace

absl::StatusOr<v1::Dataset> ExamineDataset(const v1::RegisterDatasetRequest& request) {
  RETURN_IF_ERROR(CheckRequest(request));
  absl::StatusOr<std::unique_ptr<dataset::TokenFile>> opened =
      dataset::TokenFile::Open(request.path());
  // Truncated: the caller's file is wrong, the coordinator has lost nothing.
  if (absl::IsDataLoss(opened.status())) {
    return absl::InvalidArgumentError(opened.status().message());
  }
  RETURN_IF_ERROR(opened.status());
  const std::unique_ptr<dataset::TokenFile> file = *std::move(opened);
  RETURN_IF_ERROR(file->Validate(dataset::TokenFile::Audience::kSteward));
  if (file->num_records() > request.max_records()) {
    return BadRequestError(
        {{"max_records", absl::StrCat("must be at least the number of records, ",
                                      file->num_records(), ", but is ", request.max_records())}});
  }
  v1::Dataset dataset = MakeDataset(request, file->header());
  dataset.set_sha256(file->HexSha256());
  return dataset;
}

}  // namespace sotto::api
