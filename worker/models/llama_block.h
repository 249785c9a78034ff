#ifndef SOTTO_WORKER_MODELS_LLAMA_BLOCK_H_
#define SOTTO_WORKER_MODELS_LLAMA_BLOCK_H_

#include <memory>

#include "worker/models/rotary_tables.h"
#include "worker/models/stage.h"
#include "worker/nn/activation.h"
#include "worker/nn/grouped_attention.h"
#include "worker/nn/lora_linear.h"
#include "worker/nn/rms_norm.h"

namespace sotto::models {

// A Llama block: x + attention(input_norm(x)), then x + down(act(gate(y)) * up(y)) with
// y = attention_norm(x). Keeps 4 D + 2 (queries + keys) + 3 M + heads + 2 floats per token.
class LlamaBlock final : public Stage {
 public:
  struct Options {
    int unit = 0;
    nn::RmsNorm::Options input_norm;
    nn::LoraLinear::Options queries, keys, values, projection;
    nn::RmsNorm::Options attention_norm;
    nn::LoraLinear::Options gate, up, down;
    nn::GroupedAttention::Options attention;
    nn::ActivationKind activation = nn::ActivationKind::kSilu;
    std::shared_ptr<RotaryTables> rotary;  // shared by the model's blocks
  };

  explicit LlamaBlock(const Options& options);

  int unit() const override { return unit_; }
  at::Tensor Forward(absl::Span<const at::Tensor> parameters, const MicroBatch& batch,
                     const at::Tensor& input) override;
  at::Tensor Backward(absl::Span<const at::Tensor> parameters, const MicroBatch& batch,
                      const at::Tensor& output_grads, nn::GradientSink& sink) override;
  void Release() override { kept_ = {}; }

 private:
  struct Kept {
    nn::SavedInput input_norm, attention_norm;
    nn::LoraLinear::Saved queries, keys, values, projection, gate, up, down;
    nn::GroupedAttention::Saved scores;
    std::shared_ptr<const nn::RotaryTable> rotary;
    at::Tensor gate_output, up_output;
  };

  // The gradient of the MLP's normalised input.
  at::Tensor MlpBackward(absl::Span<const at::Tensor> parameters, const at::Tensor& output_grads,
                         nn::GradientSink& sink);
  // The gradient of attention's normalised input.
  at::Tensor AttentionBackward(absl::Span<const at::Tensor> parameters,
                               const at::Tensor& output_grads, nn::GradientSink& sink);

  const int unit_;
  const nn::RmsNorm input_norm_;
  const nn::LoraLinear queries_, keys_, values_, projection_;
  const nn::RmsNorm attention_norm_;
  const nn::LoraLinear gate_, up_, down_;
  const nn::GroupedAttention scores_;
  const nn::ActivationKind activation_;
  const std::shared_ptr<RotaryTables> rotary_;
  Kept kept_;
};

}  // namespace sotto::models

#endif  // SOTTO_WORKER_MODELS_LLAMA_BLOCK_H_
