#ifndef SOTTO_WORKER_NN_TOKEN_ROWS_H_
#define SOTTO_WORKER_NN_TOKEN_ROWS_H_

#include <cstdint>
#include <utility>
#include <vector>

#include "ATen/core/Tensor.h"
#include "absl/types/span.h"

namespace sotto::nn {

// An example's positions grouped by token: (token, position), ascending.
using TokenPositions = std::vector<std::pair<int64_t, int64_t>>;

TokenPositions SortByToken(absl::Span<const int64_t> tokens);

// The tokens of example `b` of a contiguous int64 [B, T].
absl::Span<const int64_t> ExampleTokens(const at::Tensor& tokens_BT, int64_t b);

// sum_v ||sum_{t: token_t = v} grads[t]||^2 for one example; `grads_TD` is row-major, `row` scratch
// of `width` floats.
double TokenRowsNormSq(const TokenPositions& positions, const float* grads_TD, int64_t width,
                       std::vector<float>& row);

// rows[token_bt] += c_b grads[b, t], in ascending order of (b, t). Undefined coefficients mean
// ones.
void AddTokenRows(const at::Tensor& tokens_BT, const at::Tensor& grads_BTD,
                  const at::Tensor& coefficients_B, const at::Tensor& rows_VD);

}  // namespace sotto::nn

#endif  // SOTTO_WORKER_NN_TOKEN_ROWS_H_
