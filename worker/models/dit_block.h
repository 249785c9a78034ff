#ifndef SOTTO_WORKER_MODELS_DIT_BLOCK_H_
#define SOTTO_WORKER_MODELS_DIT_BLOCK_H_

#include "worker/models/feed_forward.h"
#include "worker/models/modulated_branch.h"
#include "worker/models/self_attention.h"
#include "worker/models/stage.h"
#include "worker/nn/lora_linear.h"

namespace sotto::models {

// A DiT block (adaLN-zero): x + gate_1 attention(modulated norm(x)), then the same with an MLP;
// scales, shifts and gates are a linear map of silu(condition), one row per example.
class DitBlock final : public Stage {
 public:
  struct Options {
    int unit = 0;
    nn::LoraLinear::Options modulation;  // to [B, 1, 6 D]: three of attention, three of the MLP
    SelfAttention::Options attention;
    FeedForward::Options mlp;
  };

  explicit DitBlock(const Options& options);

  int unit() const override { return unit_; }
  at::Tensor Forward(absl::Span<const at::Tensor> parameters, const MicroBatch& batch,
                     const at::Tensor& input) override;
  at::Tensor Backward(absl::Span<const at::Tensor> parameters, const MicroBatch& batch,
                      const at::Tensor& output_grads, nn::GradientSink& sink) override;
  void Release() override { kept_ = {}; }

 private:
  struct Kept {
    at::Tensor condition;
    nn::LoraLinear::Saved modulation;
    ModulatedBranch::Saved round_attention, round_mlp;
    SelfAttention::Saved attention;
    FeedForward::Saved mlp;
  };

  const int unit_;
  const nn::LoraLinear modulation_;
  const SelfAttention attention_;
  const FeedForward mlp_;
  Kept kept_;
};

}  // namespace sotto::models

#endif  // SOTTO_WORKER_MODELS_DIT_BLOCK_H_
