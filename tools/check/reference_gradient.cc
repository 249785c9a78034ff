#include "tools/check/reference_gradient.h"

#include <variant>

#include "tools/check/autograd_encoder.h"

namespace sotto::check {

absl::Status CheckHasReference(const layout::ModelDescription& description) {
  for (const layout::UnitDescription& unit : description.units) {
    for (const layout::ParameterDescription& parameter : unit.parameters) {
      if (parameter.trainable) continue;
      return absl::UnimplementedError("the fp64 reference trains whole models only, but " +
                                      parameter.name + " is frozen");
    }
  }
  if (std::holds_alternative<layout::EncoderDimensions>(description.family)) {
    return absl::OkStatus();
  }
  const auto* gpt2 = std::get_if<layout::Gpt2Dimensions>(&description.family);
  if (gpt2 == nullptr)
    return absl::UnimplementedError("the fp64 reference knows the families gpt2 and encoder only");
  const layout::Gpt2Dimensions plain;
  const bool is_plain = (gpt2->mlp_width == 0 || gpt2->mlp_width == 4 * gpt2->width) &&
                        gpt2->activation == plain.activation &&
                        gpt2->scale_attention == plain.scale_attention &&
                        gpt2->scale_attention_by_layer == plain.scale_attention_by_layer;
  if (is_plain) return absl::OkStatus();
  return absl::UnimplementedError(
      "the fp64 reference knows gpt2 with its own activation, MLP width and attention scale only");
}

equivalence::ExampleGradient ReferenceGradient(const layout::ModelDescription& description,
                                               const equivalence::UnitTensors& parameters,
                                               const ReferenceRecord& record) {
  if (std::holds_alternative<layout::EncoderDimensions>(description.family)) {
    return AutogradEncoder(description, parameters, record.tokens_T, record.label);
  }
  return equivalence::AutogradExample(description, parameters, record.tokens_T, record.loss_mask_T,
                                      record.is_mean);
}

}  // namespace sotto::check
