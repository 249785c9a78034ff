#include "worker/models/llama_block.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "worker/nn/cached_attention.h"

namespace sotto::models {
namespace {

double ScaleOf(const nn::GroupedAttention::Options& options) {
  if (options.scale != 0) return options.scale;
  return 1 / std::sqrt(static_cast<double>(options.head_width));
}

std::optional<nn::RmsNorm> MakeNorm(const std::optional<nn::RmsNorm::Options>& options) {
  if (!options.has_value()) return std::nullopt;
  return std::optional<nn::RmsNorm>(std::in_place, *options);
}

}  // namespace

LlamaBlock::LlamaBlock(const Options& options)
    : unit_(options.unit),
      head_width_(options.attention.head_width),
      input_norm_(options.input_norm),
      queries_(options.queries),
      keys_(options.keys),
      values_(options.values),
      projection_(options.projection),
      attention_norm_(options.attention_norm),
      gate_(options.gate),
      up_(options.up),
      down_(options.down),
      query_norm_(MakeNorm(options.query_norm)),
      key_norm_(MakeNorm(options.key_norm)),
      attention_(options.attention),
      scores_(options.attention),
      activation_(options.activation),
      rotary_(options.rotary) {}

at::Tensor LlamaBlock::NormHeads(const std::optional<nn::RmsNorm>& norm,
                                 absl::Span<const at::Tensor> parameters, const at::Tensor& values,
                                 nn::SavedInput* saved) const {
  if (!norm.has_value()) return values;
  const at::Tensor heads = values.view({values.size(0), -1, head_width_});
  return norm->Forward(parameters, heads, saved).view(values.sizes());
}

at::Tensor LlamaBlock::NormHeadsBackward(const std::optional<nn::RmsNorm>& norm,
                                         absl::Span<const at::Tensor> parameters,
                                         const nn::SavedInput& saved, const at::Tensor& grads,
                                         nn::GradientSink& sink) const {
  if (!norm.has_value()) return grads;
  const at::Tensor heads = grads.view({grads.size(0), -1, head_width_});
  return nn::BackwardThrough(*norm, parameters, saved, heads, sink).view(grads.sizes());
}

at::Tensor LlamaBlock::Run(absl::Span<const at::Tensor> parameters, const at::Tensor& input,
                           AttendTo attend, Kept& kept) const {
  const at::Tensor normalised = input_norm_.Forward(parameters, input, &kept.input_norm);
  const at::Tensor attended =
      attend(NormHeads(query_norm_, parameters,
                       queries_.Forward(parameters, normalised, &kept.queries), &kept.query_norm),
             NormHeads(key_norm_, parameters, keys_.Forward(parameters, normalised, &kept.keys),
                       &kept.key_norm),
             values_.Forward(parameters, normalised, &kept.values));
  at::Tensor middle = projection_.Forward(parameters, attended, &kept.projection);
  middle.add_(input);
  const at::Tensor normalised_2 = attention_norm_.Forward(parameters, middle, &kept.attention_norm);
  kept.gate_output = gate_.Forward(parameters, normalised_2, &kept.gate);
  kept.up_output = up_.Forward(parameters, normalised_2, &kept.up);
  const at::Tensor gated = nn::Gate(activation_, kept.gate_output, kept.up_output);
  at::Tensor output = down_.Forward(parameters, gated, &kept.down);
  output.add_(middle);
  return output;
}

at::Tensor LlamaBlock::Forward(absl::Span<const at::Tensor> parameters, const MicroBatch& batch,
                               const at::Tensor& input) {
  kept_.rotary = rotary_->For(batch.tokens_BT.size(1));
  const auto attend = [this](const at::Tensor& queries, const at::Tensor& keys,
                             const at::Tensor& values) {
    return scores_.Forward(queries, keys, values, {.rotary = kept_.rotary.get()}, &kept_.scores);
  };
  return Run(parameters, input, attend, kept_);
}

at::Tensor LlamaBlock::Infer(absl::Span<const at::Tensor> parameters, const InferenceBatch& batch,
                             const at::Tensor& input) {
  Kept unused;
  const auto rotary = rotary_->For(std::max(batch.capacity, input.size(1)));
  const auto turn = [&](const at::Tensor& values, int64_t heads) {
    return rotary
        ->TurnFrom(values.view({values.size(0), values.size(1), heads, attention_.head_width}),
                   batch.past_B)
        .view(values.sizes());
  };
  const auto attend = [&](const at::Tensor& queries, const at::Tensor& keys,
                          const at::Tensor& values) {
    if (batch.caches != nullptr) {
      nn::AppendToCache(turn(keys, attention_.key_value_heads), values, PastOf(batch),
                        batch.capacity, (*batch.caches)[unit_]);
    }
    if (batch.past_B.empty()) {
      return scores_.Forward(queries, keys, values, {.rotary = rotary.get()}, &unused.scores);
    }
    return nn::AttendToCache(turn(queries, attention_.heads), batch.past_B, (*batch.caches)[unit_],
                             {.heads = attention_.heads,
                              .key_value_heads = attention_.key_value_heads,
                              .head_width = attention_.head_width,
                              .scale = ScaleOf(attention_)});
  };
  return Run(parameters, input, attend, unused);
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
  const at::Tensor key_grads =
      NormHeadsBackward(key_norm_, parameters, kept_.key_norm, grads.keys, sink);
  input_grads.add_(keys_.Backward(parameters, kept_.keys, key_grads, sink));
  const at::Tensor query_grads =
      NormHeadsBackward(query_norm_, parameters, kept_.query_norm, grads.queries, sink);
  input_grads.add_(queries_.Backward(parameters, kept_.queries, query_grads, sink));
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
