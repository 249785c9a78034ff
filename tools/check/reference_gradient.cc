#include "tools/check/reference_gradient.h"

#include <variant>

#include "tests/equivalence/autograd_gpt2.h"
#include "tools/check/autograd_encoder.h"
#include "tools/check/autograd_gradient.h"
#include "tools/check/autograd_llama.h"

namespace sotto::check {

namespace {

absl::Status CheckGpt2(const layout::Gpt2Dimensions& gpt2) {
  const layout::Gpt2Dimensions plain;
  const bool is_plain = (gpt2.mlp_width == 0 || gpt2.mlp_width == 4 * gpt2.width) &&
                        gpt2.activation == plain.activation &&
                        gpt2.scale_attention == plain.scale_attention &&
                        gpt2.scale_attention_by_layer == plain.scale_attention_by_layer;
  if (is_plain) return absl::OkStatus();
  return absl::UnimplementedError(
      "the fp64 reference knows gpt2 with its own activation, MLP width and attention scale only");
}

}  // namespace

absl::Status CheckHasReference(const layout::ModelDescription& description) {
  if (const auto* gpt2 = std::get_if<layout::Gpt2Dimensions>(&description.family)) {
    return CheckGpt2(*gpt2);
  }
  const auto* llama = std::get_if<layout::LlamaDimensions>(&description.family);
  if (llama != nullptr && llama->activation != layout::Activation::kSilu) {
    return absl::UnimplementedError("the fp64 reference knows llama with SiLU only");
  }
  return absl::OkStatus();
}

equivalence::ExampleGradient ReferenceGradient(const layout::ModelDescription& description,
                                               const equivalence::UnitTensors& parameters,
                                               const ReferenceRecord& record) {
  if (const auto* encoder = std::get_if<layout::EncoderDimensions>(&description.family)) {
    return AutogradOf(description, parameters, [&](const NamedTensors& named) {
      return AutogradEncoderLoss(*encoder, named, record.tokens_T, record.label);
    });
  }
  if (const auto* llama = std::get_if<layout::LlamaDimensions>(&description.family)) {
    return AutogradOf(description, parameters, [&](const NamedTensors& named) {
      return equivalence::LanguageLoss(AutogradLlamaLogits(*llama, named, record.tokens_T),
                                       record.tokens_T, record.loss_mask_T, record.is_mean);
    });
  }
  return equivalence::AutogradExample(description, parameters, record.tokens_T, record.loss_mask_T,
                                      record.is_mean);
}

}  // namespace sotto::check
