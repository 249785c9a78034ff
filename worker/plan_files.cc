#include "worker/plan_files.h"

#include <array>
#include <cstdint>
#include <string>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"
#include "worker/train/failure_reason.h"

namespace sotto {
namespace {

// The file is the one that was planned for, so a repetition would find the same.
absl::Status Misfit(const std::string& what) {
  return train::WithFailureReason(absl::InvalidArgumentError(what),
                                  train::FailureReason::kPlanCannotRun);
}

// What a model needs of its data.
struct Wanted {
  std::array<int64_t, 3> shape = {0, 0,
                                  0};  // of values; zeros: tokens; an MLP's are {1, 1, inputs}
  int64_t classes = 0;                 // labels are below it; 0: none are needed
  int64_t targets = 0;                 // 0: none are needed
};

void SetLoss(layout::Loss loss, int64_t outputs, Wanted& wanted) {
  (loss == layout::Loss::kClassification ? wanted.classes : wanted.targets) = outputs;
}

Wanted WantedBy(const layout::ModelDescription& model) {
  Wanted wanted;
  if (const auto* encoder = std::get_if<layout::EncoderDimensions>(&model.family)) {
    wanted.classes = encoder->classes;
  } else if (const auto* mlp = std::get_if<layout::MlpDimensions>(&model.family)) {
    wanted.shape = {1, 1, mlp->inputs};
    SetLoss(mlp->loss, mlp->outputs, wanted);
  } else if (const auto* cnn = std::get_if<layout::CnnDimensions>(&model.family)) {
    wanted.shape = {cnn->channels, cnn->height, cnn->width};
    SetLoss(cnn->loss, cnn->outputs, wanted);
  } else if (const auto* vit = std::get_if<layout::VitDimensions>(&model.family)) {
    wanted.shape = {vit->grid.channels, vit->grid.image_size, vit->grid.image_size};
    SetLoss(vit->loss, vit->outputs, wanted);
  } else if (const auto* dit = std::get_if<layout::DitDimensions>(&model.family)) {
    wanted.shape = {dit->grid.channels, dit->grid.image_size, dit->grid.image_size};
    wanted.classes = dit->classes;
  }
  return wanted;
}

bool HasShape(const dataset::TokenFileHeader& header, const Wanted& wanted) {
  const auto& [channels, height, width] = wanted.shape;
  if (channels == 1 && height == 1) return header.num_values() == width;
  return header.shape[0] == channels && header.shape[1] == height && header.shape[2] == width;
}

absl::Status CheckFits(const dataset::TokenFile& file, absl::string_view which,
                       const layout::ModelDescription& model) {
  const dataset::TokenFileHeader& header = file.header();
  const Wanted wanted = WantedBy(model);
  if (header.has_values() != (model.vocabulary_size == 0)) {
    return Misfit(absl::StrCat("the ", which, " holds ", header.has_values() ? "values" : "tokens",
                               ", which the model does not read"));
  }
  if (header.vocabulary_size > model.vocabulary_size) {
    return Misfit(absl::StrCat("the ", which, "'s vocabulary has ", header.vocabulary_size,
                               " tokens, but the model's only ", model.vocabulary_size));
  }
  if (header.has_values() && !HasShape(header, wanted)) {
    return Misfit(absl::StrCat("the ", which, "'s values are ", absl::StrJoin(header.shape, " x "),
                               ", but the model reads ", absl::StrJoin(wanted.shape, " x ")));
  }
  if (wanted.classes > 0 && header.classes == 0) {
    return Misfit(absl::StrCat("the ", which, " has no labels, which the model learns from"));
  }
  if (wanted.classes > 0 && header.classes > wanted.classes) {
    return Misfit(absl::StrCat("the ", which, " has ", header.classes,
                               " classes, but the model only ", wanted.classes));
  }
  if (wanted.targets > 0 && header.targets != wanted.targets) {
    return Misfit(absl::StrCat("the ", which, " has ", header.targets,
                               " targets, but the model predicts ", wanted.targets));
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
