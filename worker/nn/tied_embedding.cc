#include "worker/nn/tied_embedding.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "ATen/Parallel.h"
#include "ATen/ops/mm.h"
#include "kernels/sum_of_squares.h"
#include "worker/nn/float32.h"
#include "worker/nn/outer_product.h"
#include "worker/nn/token_rows.h"

namespace sotto::nn {
namespace {

// Positions of the cross term handled at a time.
constexpr int64_t kCrossTile = 128;
constexpr double kCrossSlack = 0x1p-21;

double RowsNormSq(const float* rows, int64_t begin, int64_t end, int64_t width) {
  return kernels::SumOfSquares(
      absl::MakeConstSpan(rows + begin * width, static_cast<size_t>((end - begin) * width)));
}

// ||g||^2 over the rows of `rows` that no token names.
double OtherRowsNormSq(const TokenPositions& positions, const float* rows, int64_t vocabulary,
                       int64_t width) {
  double total = 0;
  int64_t next = 0;
  for (const auto& [token, position] : positions) {
    if (token > next) total += RowsNormSq(rows, next, token, width);
    next = token + 1;
  }
  return total + RowsNormSq(rows, next, vocabulary, width);
}

struct CrossTerm {
  double sum = 0;
  double absolute = 0;
};

// One example: sum_{s,t} head_grads[s, t] (head_activations[s] . output_grads[t]). With fewer
// columns than tokens head_grads[s, tokens[t]].
CrossTerm Cross(const at::Tensor& head_activations_TD, const at::Tensor& head_grads,
                const at::Tensor& output_grads_TD, const at::Tensor& tokens_T) {
  CrossTerm total;
  const int64_t tokens = output_grads_TD.size(0);
  for (int64_t begin = 0; begin < tokens; begin += kCrossTile) {
    const int64_t rows = std::min(kCrossTile, tokens - begin);
    const at::Tensor products =
        at::mm(head_activations_TD.narrow(0, begin, rows), output_grads_TD.t());
    const float* product = products.const_data_ptr<float>();
    at::Tensor tile = head_grads.narrow(0, begin, rows);
    if (tile.size(1) < tokens) tile = tile.index_select(1, tokens_T);
    const float* grads = tile.const_data_ptr<float>();
    for (int64_t s = 0; s < rows; ++s) {
      for (int64_t t = 0; t < tokens; ++t) {
        const double term = static_cast<double>(grads[s * tokens + t]) * product[s * tokens + t];
        total.sum += term;
        total.absolute += std::fabs(term);
      }
    }
  }
  return total;
}

}  // namespace

TiedHead::TiedHead(const EmbeddingOptions& options)
    : Layer(options.frozen ? std::vector<int>() : std::vector<int>{options.weight}, options.index),
      weight_(options.weight),
      linear_({.weight = options.weight,
               .weight_layout = Linear::WeightLayout::kOutputInput,
               .weight_frozen = options.frozen,
               .index = options.index}) {}

TiedEmbedding::TiedEmbedding(const EmbeddingOptions& options)
    : Layer(options.frozen ? std::vector<int>() : std::vector<int>{options.weight}, options.index),
      weight_(options.weight),
      embedding_(options) {}

at::Tensor TiedHead::Forward(absl::Span<const at::Tensor> parameters, const at::Tensor& input,
                             SavedInput* saved) const {
  return linear_.Forward(parameters, input, saved);
}

at::Tensor TiedHead::BackwardInput(absl::Span<const at::Tensor> parameters, const SavedInput& saved,
                                   const at::Tensor& output_grads) const {
  return linear_.BackwardInput(parameters, saved, output_grads);
}

void TiedHead::AddExampleNormSq(const SavedInput& saved, const at::Tensor& output_grads,
                                NormForm form, const at::Tensor& norm_sq_B) const {
  linear_.AddExampleNormSq(saved, output_grads, form, norm_sq_B);
}

void TiedHead::WeightGrad(const SavedInput& saved, const at::Tensor& output_grads,
                          const at::Tensor& coefficients_B,
                          absl::Span<const at::Tensor> gradients) const {
  linear_.WeightGrad(saved, output_grads, coefficients_B, gradients);
}

void TiedHead::ExampleGrads(const SavedInput& saved, const at::Tensor& output_grads,
                            absl::Span<const at::Tensor> slabs, const at::Tensor& norm_sq_B) const {
  double* norm_sq = norm_sq_B.data_ptr<double>();
  const int64_t vocabulary = output_grads.size(2);
  const int64_t width = saved.activations.size(2);
  OuterProducts(Float32(output_grads), Float32(saved.activations), slabs[weight_],
                [&](int64_t b, absl::Span<const float> values) {
                  norm_sq[b] += OtherRowsNormSq(SortByToken(ExampleTokens(saved.tokens_BT, b)),
                                                values.data(), vocabulary, width);
                });
}

at::Tensor TiedEmbedding::Forward(absl::Span<const at::Tensor> parameters, const at::Tensor& input,
                                  SavedInput* saved) const {
  return embedding_.Forward(parameters, input, saved);
}

at::Tensor TiedEmbedding::BackwardInput(absl::Span<const at::Tensor> parameters,
                                        const SavedInput& saved,
                                        const at::Tensor& output_grads) const {
  return embedding_.BackwardInput(parameters, saved, output_grads);
}

void TiedEmbedding::AddExampleNormSq(const SavedInput& saved, const at::Tensor& output_grads,
                                     NormForm form, const at::Tensor& norm_sq_B) const {
  embedding_.AddExampleNormSq(saved, output_grads, form, norm_sq_B);
  const at::Tensor grads = Float32(output_grads);
  const at::Tensor head_grads = Float32(saved.head_grads);
  const at::Tensor head_activations = Float32(saved.head_activations_BTD);
  double* norm_sq = norm_sq_B.data_ptr<double>();
  at::parallel_for(0, grads.size(0), 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const CrossTerm cross =
          Cross(head_activations[b], head_grads[b], grads[b], saved.tokens_BT[b]);
      norm_sq[b] += 2 * cross.sum + kCrossSlack * cross.absolute;
    }
  });
}

void TiedEmbedding::WeightGrad(const SavedInput& saved, const at::Tensor& output_grads,
                               const at::Tensor& coefficients_B,
                               absl::Span<const at::Tensor> gradients) const {
  embedding_.WeightGrad(saved, output_grads, coefficients_B, gradients);
}

void TiedEmbedding::ExampleGrads(const SavedInput& saved, const at::Tensor& output_grads,
                                 absl::Span<const at::Tensor> slabs,
                                 const at::Tensor& norm_sq_B) const {
  const at::Tensor grads = Float32(output_grads);
  const int64_t width = grads.size(2);
  const at::Tensor& slab = slabs[weight_];
  double* norm_sq = norm_sq_B.data_ptr<double>();
  at::parallel_for(0, grads.size(0), 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      float* rows = slab.data_ptr<float>() + b * slab.stride(0);
      const TokenPositions positions = SortByToken(ExampleTokens(saved.tokens_BT, b));
      for (size_t i = 0; i < positions.size();) {
        const int64_t token = positions[i].first;
        float* row = rows + token * width;
        for (; i < positions.size() && positions[i].first == token; ++i) {
          const float* grad =
              grads.const_data_ptr<float>() + b * grads.stride(0) + positions[i].second * width;
          for (int64_t j = 0; j < width; ++j) row[j] += grad[j];
        }
        norm_sq[b] += RowsNormSq(row, 0, 1, width);
      }
    }
  });
}

}  // namespace sotto::nn
