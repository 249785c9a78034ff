#include "worker/models/llama_block.h"

namespace sotto::models {

LlamaBlock::LlamaBlock(const Options& options)
    : unit_(options.unit),
      input_norm_(options.input_norm),
      queries_(options.queries),
      keys_(options.keys),
      values_(options.values),
      projection_(options.projection),
      attention_norm_(options.attention_norm),
      gate_(options.gate),
      up_(options.up),
      down_(options.down),
      scores_(options.attention),
      activation_(options.activation),
      rotary_(options.rotary) {}

at::Tensor LlamaBlock::Forward(absl::Span<const at::Tensor> parameters, const MicroBatch& batch,
                               const at::Tensor& input) {
  kept_.rotary = rotary_->For(batch.tokens_BT.size(1));
  const at::Tensor normalised = input_norm_.Forward(parameters, input, &kept_.input_norm);
  const at::Tensor attended =
      scores_.Forward(queries_.Forward(parameters, normalised, &kept_.queries),
                      keys_.Forward(parameters, normalised, &kept_.keys),
                      values_.Forward(parameters, normalised, &kept_.values),
                      {.rotary = kept_.rotary.get()}, &kept_.scores);
  at::Tensor middle = projection_.Forward(parameters, attended, &kept_.projection);
  middle.add_(input);
  const at::Tensor normalised_2 =
      attention_norm_.Forward(parameters, middle, &kept_.attention_norm);
  kept_.gate_output = gate_.Forward(parameters, normalised_2, &kept_.gate);
  kept_.up_output = up_.Forward(parameters, normalised_2, &kept_.up);
  const at::Tensor gated = nn::Gate(activation_, kept_.gate_output, kept_.up_output);
  at::Tensor output = down_.Forward(parameters, gated, &kept_.down);
  output.add_(middle);
  return output;
}

at::Tensor LlamaBlock::MlpBackward(absl::Span<const at::Tensor> parameters,
                                   const at::Tensor& output_grads, nn::GradientSink& sink) {
  const at::Tensor gated_grads = down_.Backward(parameters, kept_.down, output_grads, sink);
  const nn::GateGrads grads =
      nn::GateBackward(activation_, kept_.gate_output, kept_.up_output, gated_grads);
  at::Tensor input_grads = up_.Backward(parameters, kept_.up, grads.up, sink);
  input_grads.add_(gate_.Backward(parameters, kept_.gate, grads.gate, sink));
  return input_grads;
}

at::Tensor LlamaBlock::AttentionBackward(absl::Span<const at::Tensor> parameters,
                                         const at::Tensor& output_grads, nn::GradientSink& sink) {
  const at::Tensor attended_grads =
      projection_.Backward(parameters, kept_.projection, output_grads, sink);
  const nn::GroupedAttention::Grads grads =
      scores_.Backward(kept_.scores, attended_grads, {.rotary = kept_.rotary.get()});
  at::Tensor input_grads = values_.Backward(parameters, kept_.values, grads.values, sink);
  input_grads.add_(keys_.Backward(parameters, kept_.keys, grads.keys, sink));
  input_grads.add_(queries_.Backward(parameters, kept_.queries, grads.queries, sink));
  return input_grads;
}

at::Tensor LlamaBlock::Backward(absl::Span<const at::Tensor> parameters, const MicroBatch&,
                                const at::Tensor& output_grads, nn::GradientSink& sink) {
  at::Tensor middle_grads = nn::BackwardThrough(attention_norm_, parameters, kept_.attention_norm,
                                                MlpBackward(parameters, output_grads, sink), sink);
  middle_grads.add_(output_grads);
  at::Tensor input_grads =
      nn::BackwardThrough(input_norm_, parameters, kept_.input_norm,
                          AttentionBackward(parameters, middle_grads, sink), sink);
  input_grads.add_(middle_grads);
  return input_grads;
}

}  // namespace sotto::models
