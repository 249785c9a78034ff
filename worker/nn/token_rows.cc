#include "worker/nn/token_rows.h"

#include <algorithm>

#include "ATen/Parallel.h"
#include "kernels/sum_of_squares.h"
#include "worker/nn/float32.h"

namespace sotto::nn {

TokenPositions SortByToken(absl::Span<const int64_t> tokens) {
  TokenPositions positions;
  positions.reserve(tokens.size());
  for (size_t t = 0; t < tokens.size(); ++t) {
    positions.emplace_back(tokens[t], static_cast<int64_t>(t));
  }
  std::sort(positions.begin(), positions.end());
  return positions;
}

absl::Span<const int64_t> ExampleTokens(const at::Tensor& tokens_BT, int64_t b) {
  return absl::MakeConstSpan(tokens_BT.const_data_ptr<int64_t>() + b * tokens_BT.stride(0),
                             static_cast<size_t>(tokens_BT.size(1)));
}

double TokenRowsNormSq(const TokenPositions& positions, const float* grads_TD, int64_t width,
                       std::vector<float>& row) {
  double total = 0;
  for (size_t i = 0; i < positions.size();) {
    row.assign(static_cast<size_t>(width), 0.0f);
    const int64_t token = positions[i].first;
    for (; i < positions.size() && positions[i].first == token; ++i) {
      const float* grad = grads_TD + positions[i].second * width;
      for (int64_t j = 0; j < width; ++j) row[j] += grad[j];
    }
    total += kernels::SumOfSquares(row);
  }
  return total;
}

void AddTokenRows(const at::Tensor& tokens_BT, const at::Tensor& grads_BTD,
                  const at::Tensor& coefficients_B, const at::Tensor& rows_VD) {
  const at::Tensor grads = Float32(grads_BTD);
  const int64_t tokens = grads.size(1);
  const int64_t width = grads.size(2);
  const float* values = grads.const_data_ptr<float>();
  const float* coefficients =
      coefficients_B.defined() ? coefficients_B.const_data_ptr<float>() : nullptr;
  float* rows = rows_VD.data_ptr<float>();
  // Threads own columns, so that no two write one row's element.
  at::parallel_for(0, width, 64, [&](int64_t begin, int64_t end) {
    for (int64_t b = 0; b < grads.size(0); ++b) {
      const float coefficient = coefficients == nullptr ? 1.0f : coefficients[b];
      if (coefficient == 0) continue;
      const absl::Span<const int64_t> own_tokens = ExampleTokens(tokens_BT, b);
      for (int64_t t = 0; t < tokens; ++t) {
        const float* grad = values + (b * tokens + t) * width;
        float* row = rows + own_tokens[t] * width;
        for (int64_t j = begin; j < end; ++j) row[j] += coefficient * grad[j];
      }
    }
  });
}

}  // namespace sotto::nn
