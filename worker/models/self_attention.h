#ifndef SOTTO_WORKER_MODELS_SELF_ATTENTION_H_
#define SOTTO_WORKER_MODELS_SELF_ATTENTION_H_

#include "absl/types/span.h"
#include "worker/nn/gradient_sink.h"
#include "worker/nn/grouped_attention.h"
#include "worker/nn/lora_linear.h"

namespace sotto::models {

// Attention of every token to every other, between a fused projection to queries, keys and values
// and one back. Stateless and thread-safe.
class SelfAttention {
 public:
  struct Options {
    nn::LoraLinear::Options projection;  // to queries, keys and values, one after the other
    nn::LoraLinear::Options output;
    int64_t heads = 1;
    int64_t head_width = 0;
  };
  struct Saved {
    nn::LoraLinear::Saved projection, output;
    nn::GroupedAttention::Saved scores;
  };

  explicit SelfAttention(const Options& options);

  // Input and result [B, T, D]. `key_mask_BT`: as in GroupedAttention::Context, in both calls.
  at::Tensor Forward(absl::Span<const at::Tensor> parameters, const at::Tensor& input,
                     const at::Tensor& key_mask_BT, Saved* saved) const;
  at::Tensor Backward(absl::Span<const at::Tensor> parameters, const Saved& saved,
                      const at::Tensor& key_mask_BT, const at::Tensor& output_grads,
                      nn::GradientSink& sink) const;

 private:
  const nn::LoraLinear projection_;
  const nn::GroupedAttention scores_;
  const nn::LoraLinear output_;
};

}  // namespace sotto::models

#endif  // SOTTO_WORKER_MODELS_SELF_ATTENTION_H_
