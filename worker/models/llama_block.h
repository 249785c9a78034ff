#ifndef SOTTO_WORKER_MODELS_LLAMA_BLOCK_H_
#define SOTTO_WORKER_MODELS_LLAMA_BLOCK_H_

#include <cstdint>
#include <memory>
#include <optional>

#include "absl/functional/function_ref.h"
#include "worker/models/rotary_tables.h"
#include "worker/models/stage.h"
#include "worker/nn/activation.h"
#include "worker/nn/grouped_attention.h"
#include "worker/nn/lora_linear.h"
#include "worker/nn/rms_norm.h"

namespace sotto::models {

// A Llama block: x + attention(input_norm(x)), then x + down(act(gate(y)) * up(y)) with
// y = attention_norm(x); with query and key norms Qwen3's. Without those it keeps 4 D + 2 (queries
// + keys) + 3 M + heads + 2 floats per token.
class LlamaBlock final : public Stage {
 public:
  struct Options {
    int unit = 0;
    nn::RmsNorm::Options input_norm;
    nn::LoraLinear::Options queries, keys, values, projection;
    nn::RmsNorm::Options attention_norm;
    nn::LoraLinear::Options gate, up, down;
    nn::GroupedAttention::Options attention;
    std::optional<nn::RmsNorm::Options> query_norm, key_norm;  // of each head, or neither
    nn::ActivationKind activation = nn::ActivationKind::kSilu;
    std::shared_ptr<RotaryTables> rotary;  // shared by the model's blocks
  };

  explicit LlamaBlock(const Options& options);

  int unit() const override { return unit_; }
  at::Tensor Forward(absl::Span<const at::Tensor> parameters, const MicroBatch& batch,
                     const at::Tensor& input) override;
  at::Tensor Backward(absl::Span<const at::Tensor> parameters, const MicroBatch& batch,
                      const at::Tensor& output_grads, nn::GradientSink& sink) override;
  at::Tensor Infer(absl::Span<const at::Tensor> parameters, const InferenceBatch& batch,
                   const at::Tensor& input) override;
  void Release() override { kept_ = {}; }

 private:
  struct Kept {
    nn::SavedInput input_norm, attention_norm, query_norm, key_norm;
    nn::LoraLinear::Saved queries, keys, values, projection, gate, up, down;
    nn::GroupedAttention::Saved scores;
    std::shared_ptr<const nn::RotaryTable> rotary;
    at::Tensor gate_output, up_output;
  };

  // Queries or keys [B, T, heads * head width] with every head normalised, and the way back; as
  // they are without a norm.
  at::Tensor NormHeads(const std::optional<nn::RmsNorm>& norm,
                       absl::Span<const at::Tensor> parameters, const at::Tensor& values,
                       nn::SavedInput* saved) const;
  at::Tensor NormHeadsBackward(const std::optional<nn::RmsNorm>& norm,
                               absl::Span<const at::Tensor> parameters, const nn::SavedInput& saved,
                               const at::Tensor& grads, nn::GradientSink& sink) const;
  using AttendTo = absl::FunctionRef<at::Tensor(const at::Tensor& queries, const at::Tensor& keys,
                                                const at::Tensor& values)>;

  at::Tensor Run(absl::Span<const at::Tensor> parameters, const at::Tensor& input, AttendTo attend,
                 Kept& kept) const;

  // The gradient of the MLP's normalised input.
  at::Tensor MlpBackward(absl::Span<const at::Tensor> parameters, const at::Tensor& output_grads,
                         nn::GradientSink& sink);
  // The gradient of attention's normalised input.
  at::Tensor AttentionBackward(absl::Span<const at::Tensor> parameters,
                               const at::Tensor& output_grads, nn::GradientSink& sink);

  const int unit_;
  const int64_t head_width_;
  const nn::RmsNorm input_norm_;
  const nn::LoraLinear queries_, keys_, values_, projection_;
  const nn::RmsNorm attention_norm_;
  const nn::LoraLinear gate_, up_, down_;
  const std::optional<nn::RmsNorm> query_norm_, key_norm_;
  const nn::GroupedAttention::Options attention_;
  const nn::GroupedAttention scores_;
  const nn::ActivationKind activation_;
  const std::shared_ptr<RotaryTables> rotary_;
  Kept kept_;
};

}  // namespace sotto::models

#endif  // SOTTO_WORKER_MODELS_LLAMA_BLOCK_H_
