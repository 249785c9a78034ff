#include "worker/nn/embedding.h"

#include <algorithm>
#include <vector>

#include "ATen/Parallel.h"
#include "ATen/ops/add.h"
#include "ATen/ops/index_select.h"
#include "kernels/fold.h"
#include "kernels/sum_of_squares.h"
#include "worker/nn/token_rows.h"

namespace sotto::nn {

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

void Embedding::AddExampleNormSq(const SavedInput& saved, const at::Tensor& output_grads,
                                 const at::Tensor& norm_sq_B) const {
  const at::Tensor grads = output_grads.contiguous();
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
                                         const at::Tensor& norm_sq_B) const {
  const at::Tensor grads = output_grads.contiguous();
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
  const at::Tensor grads = output_grads.contiguous();
  const int64_t elements = grads.size(1) * grads.size(2);
  std::vector<float> factors(static_cast<size_t>(grads.size(0)), 1.0f);
  if (coefficients_B.defined()) {
    std::copy_n(coefficients_B.const_data_ptr<float>(), grads.size(0), factors.begin());
  }
  kernels::Fold(
      grads.const_data_ptr<float>(), elements, factors,
      absl::MakeSpan(gradients[weight_].data_ptr<float>(), static_cast<size_t>(elements)));
}

}  // namespace sotto::nn
