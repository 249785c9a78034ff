#include "worker/models/token_embedding.h"

#include "worker/nn/tied_embedding.h"

namespace sotto::models {
namespace {

std::unique_ptr<nn::Layer> MakeTokens(const TokenEmbedding::Options& options) {
  if (options.tied == nullptr) return std::make_unique<nn::Embedding>(options.tokens);
  return std::make_unique<nn::TiedEmbedding>(options.tokens);
}

std::unique_ptr<nn::Layer> MakePositions(const TokenEmbedding::Options& options) {
  if (!options.positions.has_value()) return nullptr;
  return std::make_unique<nn::PositionEmbedding>(*options.positions);
}

}  // namespace

TokenEmbedding::TokenEmbedding(const Options& options)
    : options_(options), tokens_(MakeTokens(options)), positions_(MakePositions(options)) {}

at::Tensor TokenEmbedding::Forward(absl::Span<const at::Tensor> parameters, const MicroBatch& batch,
                                   const at::Tensor&) {
  const at::Tensor embedded = tokens_->Forward(parameters, batch.tokens_BT, &kept_tokens_);
  if (positions_ == nullptr) return embedded;
  return positions_->Forward(parameters, embedded, &kept_positions_);
}

at::Tensor TokenEmbedding::Infer(absl::Span<const at::Tensor> parameters,
                                 const InferenceBatch& batch, const at::Tensor&) {
  nn::SavedInput unused;
  const at::Tensor embedded = tokens_->Forward(parameters, batch.tokens_BT, &unused);
  if (positions_ == nullptr) return embedded;
  if (batch.past_B.empty()) return positions_->Forward(parameters, embedded, &unused);
  for (int64_t b = 0; b < embedded.size(0); ++b) {
    embedded.select(0, b).add_(
        parameters[options_.positions->weight].narrow(0, batch.past_B[b], embedded.size(1)));
  }
  return embedded;
}

at::Tensor TokenEmbedding::Backward(absl::Span<const at::Tensor> parameters, const MicroBatch&,
                                    const at::Tensor& output_grads, nn::GradientSink& sink) {
  nn::SavedInput saved = kept_tokens_;
  if (options_.tied != nullptr && sink.needs_cross_term(*tokens_)) {
    saved.head_activations_BTD = options_.tied->head_activations_BTD;
    saved.head_grads = options_.tied->head_grads;
  }
  nn::BackwardThrough(*tokens_, parameters, saved, output_grads, sink);
  if (positions_ != nullptr) {
    nn::BackwardThrough(*positions_, parameters, kept_positions_, output_grads, sink);
  }
  return at::Tensor();
}

void TokenEmbedding::Release() {
  kept_tokens_ = {};
  kept_positions_ = {};
}

}  // namespace sotto::models
