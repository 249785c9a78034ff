#include "server/planning/data_rules.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/planning/image_models.h"
#include "server/planning/model_facts.h"

namespace sotto::planning {
namespace {

bool HasTokens(const v1::DatasetFacts& dataset) { return dataset.image_shape().empty(); }

// Families that read tokens.
void CheckTokens(const v1::JobSpec& spec, const v1::DatasetFacts& dataset, Rules& rules) {
  const absl::string_view family = FamilyOf(spec.model());
  if (!rules.Require(HasTokens(dataset), "data.dataset",
                     absl::StrCat("must hold tokens for a model of family ", family),
                     absl::StrCat("of values, ", absl::StrJoin(dataset.image_shape(), " x ")))) {
    return;
  }
  rules.Require(VocabularyOf(spec.model()) >= dataset.vocabulary_size(),
                absl::StrCat("model.", family, ".vocabulary_size"),
                absl::StrCat("must be at least the dataset's ", dataset.vocabulary_size()),
                VocabularyOf(spec.model()));
}

void CheckEncoderData(const v1::EncoderSpec& encoder, const v1::DatasetFacts& dataset,
                      Rules& rules) {
  if (!HasTokens(dataset)) return;
  if (!rules.Require(dataset.classes() > 0, "data.dataset",
                     "must have labels for an encoder to learn (sotto data prepare --classes)",
                     "without labels")) {
    return;
  }
  // Fewer than two are no encoder, whatever the dataset.
  rules.Require(
      encoder.classes() < 2 || encoder.classes() >= dataset.classes(), "model.encoder.classes",
      absl::StrCat("must be at least the dataset's ", dataset.classes()), encoder.classes());
}

}  // namespace

void CheckDataset(const v1::JobSpec& spec, const v1::DatasetFacts& dataset, Rules& rules) {
  rules.Require(dataset.max_records() >= 1, "data.dataset", "must declare at least one record",
                dataset.max_records());
  switch (spec.model().family_case()) {
    case v1::ModelSpec::kGpt2:
    case v1::ModelSpec::kLlama:
      return CheckTokens(spec, dataset, rules);
    case v1::ModelSpec::kEncoder:
      CheckTokens(spec, dataset, rules);
      return CheckEncoderData(spec.model().encoder(), dataset, rules);
    case v1::ModelSpec::kMlp:
    case v1::ModelSpec::kCnn:
    case v1::ModelSpec::kVit:
    case v1::ModelSpec::kDit:
      return CheckImageData(spec.model(), dataset, rules);
    default:
      return;
  }
}

}  // namespace sotto::planning
