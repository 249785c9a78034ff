#include "worker/plan_files.h"

#include <string>
#include <variant>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace sotto {
namespace {

absl::Status CheckFits(const dataset::TokenFile& file, absl::string_view which,
                       const layout::ModelDescription& model) {
  if (file.header().vocabulary_size > model.vocabulary_size) {
    return absl::InvalidArgumentError(
        absl::StrCat("the ", which, "'s vocabulary has ", file.header().vocabulary_size,
                     " tokens, but the model's only ", model.vocabulary_size));
  }
  const auto* encoder = std::get_if<layout::EncoderDimensions>(&model.family);
  if (encoder == nullptr) return absl::OkStatus();
  if (file.header().classes == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("the ", which, " has no labels, which a classifier learns from"));
  }
  if (file.header().classes > encoder->classes) {
    return absl::InvalidArgumentError(absl::StrCat("the ", which, " has ", file.header().classes,
                                                   " classes, but the model only ",
                                                   encoder->classes));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<dataset::TokenFile>> OpenDataset(
    const v1::JobPlan& plan, const layout::ModelDescription& model) {
  ASSIGN_OR_RETURN(std::unique_ptr<dataset::TokenFile> file,
                   dataset::TokenFile::Open(plan.dataset().path()));
  RETURN_IF_ERROR(
      dataset::CheckRegistered(*file, plan.dataset().sha256(), plan.dataset().max_records()));
  RETURN_IF_ERROR(CheckFits(*file, "dataset", model));
  return file;
}

absl::StatusOr<std::unique_ptr<dataset::TokenFile>> OpenEvaluation(
    const v1::JobPlan& plan, const layout::ModelDescription& model) {
  const std::string& path = plan.spec().data().public_evaluation_file();
  if (path.empty()) return std::unique_ptr<dataset::TokenFile>();
  ASSIGN_OR_RETURN(std::unique_ptr<dataset::TokenFile> file, dataset::TokenFile::Open(path));
  RETURN_IF_ERROR(file->Validate(dataset::TokenFile::Audience::kSteward));  // It is public.
  RETURN_IF_ERROR(CheckFits(*file, "evaluation file", model));
  return file;
}

}  // namespace sotto
