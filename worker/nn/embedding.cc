#include "worker/nn/embedding.h"

#include <algorithm>
#include <vector>

#include "ATen/Parallel.h"
#include "ATen/ops/add.h"
#include "ATen/ops/index_select.h"
#include "kernels/sum_of_squares.h"
#include "worker/nn/example_rows.h"
#include "worker/nn/float32.h"
#include "worker/nn/token_rows.h"

namespace sotto::nn {
namespace {

std::vector<int> ParametersOf(const EmbeddingOptions& options) {
  if (options.frozen) return {};
  return {options.weight};
}

}  // namespace

Embedding::Embedding(const EmbeddingOptions& options)
    : Layer(ParametersOf(options), options.index), weight_(options.weight) {}

PositionEmbedding::PositionEmbedding(const EmbeddingOptions& options)
    : Layer(ParametersOf(options), options.index), weight_(options.weight) {}

at::Tensor Embedding::Forward(absl::Span<const at::Tensor> parameters, const at::Tensor& input,
                              SavedInput* saved) const {
  saved->tokens_BT = input;
  const at::Tensor& weight = parameters[weight_];
  return at::index_select(weight, 0, input.reshape({-1}))
      .view({input.size(0), input.size(1), weight.size(1)});
}

at::Tensor Embedding::BackwardInput(absl::Span<const at::Tensor>, const SavedInput&,
                                    const at::Tensor&) const {
  return at::Tensor();
}

void Embedding::AddExampleNormSq(const SavedInput& saved, const at::Tensor& output_grads, NormForm,
                                 const at::Tensor& norm_sq_B) const {
  const at::Tensor grads = Float32(output_grads);
  double* norm_sq = norm_sq_B.data_ptr<double>();
  at::parallel_for(0, grads.size(0), 1, [&](int64_t begin, int64_t end) {
    std::vector<float> row;
    for (int64_t b = begin; b < end; ++b) {
      norm_sq[b] +=
          TokenRowsNormSq(SortByToken(ExampleTokens(saved.tokens_BT, b)),
                          grads.const_data_ptr<float>() + b * grads.stride(0), grads.size(2), row);
    }
  });
}

void Embedding::WeightGrad(const SavedInput& saved, const at::Tensor& output_grads,
                           const at::Tensor& coefficients_B,
                           absl::Span<const at::Tensor> gradients) const {
  AddTokenRows(saved.tokens_BT, output_grads, coefficients_B, gradients[weight_]);
}

at::Tensor PositionEmbedding::Forward(absl::Span<const at::Tensor> parameters,
                                      const at::Tensor& input, SavedInput* saved) const {
  return at::add(input, parameters[weight_].narrow(0, 0, input.size(1)));
}

at::Tensor PositionEmbedding::BackwardInput(absl::Span<const at::Tensor>, const SavedInput&,
                                            const at::Tensor& output_grads) const {
  return output_grads;
}

void PositionEmbedding::AddExampleNormSq(const SavedInput& saved, const at::Tensor& output_grads,
                                         NormForm, const at::Tensor& norm_sq_B) const {
  const at::Tensor grads = Float32(output_grads);
  double* norm_sq = norm_sq_B.data_ptr<double>();
  const int64_t elements = grads.size(1) * grads.size(2);
  for (int64_t b = 0; b < grads.size(0); ++b) {
    norm_sq[b] += kernels::SumOfSquares(absl::MakeConstSpan(
        grads.const_data_ptr<float>() + b * elements, static_cast<size_t>(elements)));
  }
}

void PositionEmbedding::WeightGrad(const SavedInput& saved, const at::Tensor& output_grads,
                                   const at::Tensor& coefficients_B,
                                   absl::Span<const at::Tensor> gradients) const {
  const at::Tensor grads = Float32(output_grads);
  FoldRows(grads.view({grads.size(0), grads.size(1) * grads.size(2)}), coefficients_B,
           gradients[weight_]);
}

}  // namespace sotto::nn
