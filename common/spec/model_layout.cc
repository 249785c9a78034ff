#include "common/spec/model_layout.h"

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/layout/adaptation.h"
#include "common/layout/encoder_description.h"
#include "common/layout/gpt2_description.h"
#include "common/layout/image_descriptions.h"
#include "common/layout/llama_description.h"
#include "common/spec/model_dimensions.h"

namespace sotto::spec {

namespace {

absl::StatusOr<layout::ModelDescription> DescribeFamily(const v1::ModelSpec& model) {
  switch (model.family_case()) {
    case v1::ModelSpec::kGpt2:
      return layout::MakeGpt2Description(DimensionsOf(model.gpt2()));
    case v1::ModelSpec::kLlama: {
      ASSIGN_OR_RETURN(const layout::LlamaDimensions dimensions, DimensionsOf(model.llama()));
      return layout::MakeLlamaDescription(dimensions);
    }
    case v1::ModelSpec::kEncoder:
      return layout::MakeEncoderDescription(DimensionsOf(model.encoder()));
    case v1::ModelSpec::kMlp:
      return layout::MakeMlpDescription(DimensionsOf(model.mlp()));
    case v1::ModelSpec::kCnn:
      return layout::MakeCnnDescription(DimensionsOf(model.cnn()));
    case v1::ModelSpec::kVit:
      return layout::MakeVitDescription(DimensionsOf(model.vit()));
    case v1::ModelSpec::kDit:
      return layout::MakeDitDescription(DimensionsOf(model.dit()));
    case v1::ModelSpec::FAMILY_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError(
      "model names no family (gpt2, llama, encoder, mlp, cnn, vit, dit)");
}

layout::Adaptation AdaptationOf(const v1::AdaptationSpec& spec) {
  layout::Adaptation adaptation{.bias_only = spec.bias_only(),
                                .frozen = {spec.frozen().begin(), spec.frozen().end()}};
  if (spec.has_lora()) {
    adaptation.lora = {.rank = spec.lora().rank(),
                       .alpha = spec.lora().alpha(),
                       .targets = {spec.lora().targets().begin(), spec.lora().targets().end()}};
  }
  return adaptation;
}

}  // namespace

absl::StatusOr<layout::ModelDescription> DescribeModel(const v1::ModelSpec& model) {
  ASSIGN_OR_RETURN(layout::ModelDescription description, DescribeFamily(model));
  if (model.has_adaptation()) {
    RETURN_IF_ERROR(layout::Adapt(AdaptationOf(model.adaptation()), description));
  }
  return description;
}

v1::UnitMode ModeMessage(const layout::UnitMode& mode) {
  v1::UnitMode message;
  switch (mode.norm) {
    case layout::Norm::kNone:
      message.set_norm(v1::UnitMode::NONE);
      break;
    case layout::Norm::kGram:
      message.set_norm(v1::UnitMode::GRAM);
      break;
    case layout::Norm::kTiled:
      message.set_norm(v1::UnitMode::TILED);
      break;
    case layout::Norm::kFromGradient:
      message.set_norm(v1::UnitMode::FROM_GRADIENT);
      break;
  }
  switch (mode.when) {
    case layout::When::kNever:
      break;
    case layout::When::kInLayer:
      message.set_when(v1::UnitMode::IN_LAYER);
      break;
    case layout::When::kAfterLayer:
      message.set_when(v1::UnitMode::AFTER_LAYER);
      break;
    case layout::When::kAfterBackward:
      message.set_when(v1::UnitMode::AFTER_BACKWARD);
      break;
  }
  switch (mode.kept) {
    case layout::Kept::kNothing:
      break;
    case layout::Kept::kActivations:
      message.set_kept(v1::UnitMode::ACTIVATIONS);
      break;
    case layout::Kept::kOutputGrads:
      message.set_kept(v1::UnitMode::OUTPUT_GRADS);
      break;
    case layout::Kept::kExampleGrads:
      message.set_kept(v1::UnitMode::EXAMPLE_GRADS);
      break;
  }
  return message;
}

absl::StatusOr<layout::UnitMode> ModeOf(const v1::UnitMode& message) {
  for (layout::Norm norm : {layout::Norm::kNone, layout::Norm::kGram, layout::Norm::kTiled,
                            layout::Norm::kFromGradient}) {
    for (layout::When when : {layout::When::kNever, layout::When::kInLayer,
                              layout::When::kAfterLayer, layout::When::kAfterBackward}) {
      for (layout::Kept kept : {layout::Kept::kNothing, layout::Kept::kActivations,
                                layout::Kept::kOutputGrads, layout::Kept::kExampleGrads}) {
        const layout::UnitMode mode{norm, when, kept};
        const bool clips = norm != layout::Norm::kNone;
        if (clips != (when != layout::When::kNever) || clips != (kept != layout::Kept::kNothing)) {
          continue;
        }
        const v1::UnitMode entry = ModeMessage(mode);
        if (entry.norm() == message.norm() && entry.when() == message.when() &&
            entry.kept() == message.kept()) {
          return mode;
        }
      }
    }
  }
  return absl::InvalidArgumentError(
      absl::StrCat("no gradient mode has ", message.ShortDebugString()));
}

}  // namespace sotto::spec
