#include "tools/check/reference_gradient.h"

#include <variant>

namespace sotto::check {

absl::Status CheckHasReference(const layout::ModelDescription& description) {
  const auto* gpt2 = std::get_if<layout::Gpt2Dimensions>(&description.family);
  if (gpt2 == nullptr) return absl::UnimplementedError("the fp64 reference knows gpt2 only");
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
  return equivalence::AutogradExample(description, parameters, record.tokens_T, record.loss_mask_T,
                                      record.is_mean);
}

}  // namespace sotto::check
