#include "common/spec/model_layout.h"

#include "absl/strings/str_cat.h"
#include "common/layout/gpt2_description.h"

namespace sotto::spec {

absl::StatusOr<layout::ModelDescription> DescribeModel(const v1::ModelSpec& model) {
  if (!model.has_gpt2()) return absl::InvalidArgumentError("model names no family (gpt2)");
  const v1::Gpt2Spec& gpt2 = model.gpt2();
  layout::Gpt2Dimensions dimensions{.vocabulary_size = gpt2.vocabulary_size(),
                                    .width = gpt2.width(),
                                    .layers = gpt2.layers(),
                                    .heads = gpt2.heads(),
                                    .max_length = gpt2.max_length(),
                                    .tied_head = !gpt2.untied_head()};
  if (gpt2.layer_norm_epsilon() != 0) dimensions.layer_norm_epsilon = gpt2.layer_norm_epsilon();
  if (gpt2.init_stddev() != 0) dimensions.init_stddev = gpt2.init_stddev();
  return layout::MakeGpt2Description(dimensions);
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
