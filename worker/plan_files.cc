#include "worker/plan_files.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace sotto {
namespace {

absl::Status CheckVocabulary(const dataset::TokenFile& file, absl::string_view which,
                             int64_t vocabulary_size) {
  if (file.header().vocabulary_size <= vocabulary_size) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the ", which, "'s vocabulary has ", file.header().vocabulary_size,
                   " tokens, but the model's only ", vocabulary_size));
}

}  // namespace

absl::StatusOr<std::unique_ptr<dataset::TokenFile>> OpenDataset(const v1::JobPlan& plan,
                                                                int64_t vocabulary_size) {
  ASSIGN_OR_RETURN(std::unique_ptr<dataset::TokenFile> file,
                   dataset::TokenFile::Open(plan.dataset().path()));
  RETURN_IF_ERROR(
      dataset::CheckRegistered(*file, plan.dataset().sha256(), plan.dataset().max_records()));
  RETURN_IF_ERROR(CheckVocabulary(*file, "dataset", vocabulary_size));
  return file;
}

absl::StatusOr<std::unique_ptr<dataset::TokenFile>> OpenEvaluation(const v1::JobPlan& plan,
                                                                   int64_t vocabulary_size) {
  const std::string& path = plan.spec().data().public_evaluation_file();
  if (path.empty()) return std::unique_ptr<dataset::TokenFile>();
  ASSIGN_OR_RETURN(std::unique_ptr<dataset::TokenFile> file, dataset::TokenFile::Open(path));
  RETURN_IF_ERROR(file->Validate(dataset::TokenFile::Audience::kSteward));  // It is public.
  RETURN_IF_ERROR(CheckVocabulary(*file, "evaluation file", vocabulary_size));
  return file;
}

}  // namespace sotto
