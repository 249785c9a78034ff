#include "worker/nn/outer_product.h"

#include <algorithm>
#include <vector>

#include "ATen/Parallel.h"
#include "ATen/ops/ones.h"
#include "kernels/fold.h"
#include "kernels/stream_with_norm.h"
#include "kernels/sum_of_squares.h"
#include "worker/nn/gemm.h"

namespace sotto::nn {
namespace {

// Products of fewer elements stay in cache: 64 KiB.
constexpr int64_t kLeastStreamed = int64_t{1} << 14;
// A tile of a streamed product: 1 MiB of the second-level cache, beside its factors' columns, and
// large enough for the product to run at full speed.
constexpr int64_t kTileColumns = 2048;
constexpr int64_t kTileElements = int64_t{1} << 18;

// One example's factors, row-major.
struct Factors {
  const float* left;
  int64_t left_width;
  const float* right;
  int64_t right_width;
  int64_t tokens;
};

Factors ExampleFactors(const at::Tensor& left_BTL, const at::Tensor& right_BTR, int64_t b) {
  return {.left = left_BTL.const_data_ptr<float>() + b * left_BTL.stride(0),
          .left_width = left_BTL.size(2),
          .right = right_BTR.const_data_ptr<float>() + b * right_BTR.stride(0),
          .right_width = right_BTR.size(2),
          .tokens = left_BTL.size(1)};
}

// Row-major out[rows, columns] = left[:, i..]^T right[:, j..].
void Product(const Factors& f, int64_t i, int64_t rows, int64_t j, int64_t columns, float* out) {
  Gemm('N', 'T', columns, rows, f.tokens, f.right + j, f.right_width, f.left + i, f.left_width, out,
       columns);
}

double StreamTile(const float* tile, int64_t rows, int64_t columns, float* out,
                  int64_t out_stride) {
  const auto span = [tile](int64_t begin, int64_t size) {
    return absl::MakeConstSpan(tile + begin, static_cast<size_t>(size));
  };
  if (columns == out_stride) return kernels::StreamWithNorm(span(0, rows * columns), out);
  double norm_sq = 0;
  for (int64_t row = 0; row < rows; ++row) {
    norm_sq += kernels::StreamWithNorm(span(row * columns, columns), out + row * out_stride);
  }
  return norm_sq;
}

double StreamProduct(const Factors& f, std::vector<float>& tile, float* out) {
  const int64_t columns = std::min(f.right_width, kTileColumns);
  const int64_t rows = std::min(f.left_width, std::max<int64_t>(1, kTileElements / columns));
  tile.resize(static_cast<size_t>(rows * columns));
  double norm_sq = 0;
  for (int64_t i = 0; i < f.left_width; i += rows) {
    for (int64_t j = 0; j < f.right_width; j += columns) {
      const int64_t tile_rows = std::min(rows, f.left_width - i);
      const int64_t tile_columns = std::min(columns, f.right_width - j);
      Product(f, i, tile_rows, j, tile_columns, tile.data());
      norm_sq += StreamTile(tile.data(), tile_rows, tile_columns, out + i * f.right_width + j,
                            f.right_width);
    }
  }
  return norm_sq;
}

at::Tensor Flat(const at::Tensor& values_BTR) {
  return values_BTR.reshape({values_BTR.size(0) * values_BTR.size(1), values_BTR.size(2)});
}

}  // namespace

void OuterProducts(const at::Tensor& left_BTL, const at::Tensor& right_BTR,
                   const at::Tensor& products_BE,
                   absl::FunctionRef<void(int64_t b, absl::Span<const float> values)> visit) {
  const at::Tensor left = left_BTL.contiguous();
  const at::Tensor right = right_BTR.contiguous();
  float* products = products_BE.data_ptr<float>();
  const int64_t stride = products_BE.stride(0);
  const int64_t elements = left.size(2) * right.size(2);
  at::parallel_for(0, left.size(0), 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      float* out = products + b * stride;
      const Factors f = ExampleFactors(left, right, b);
      Product(f, 0, f.left_width, 0, f.right_width, out);
      visit(b, absl::MakeConstSpan(out, static_cast<size_t>(elements)));
    }
  });
}

void OuterProductsWithNormSq(const at::Tensor& left_BTL, const at::Tensor& right_BTR,
                             const at::Tensor& products_BE, const at::Tensor& norm_sq_B) {
  double* norm_sq = norm_sq_B.data_ptr<double>();
  if (left_BTL.size(2) * right_BTR.size(2) < kLeastStreamed) {
    OuterProducts(left_BTL, right_BTR, products_BE,
                  [norm_sq](int64_t b, absl::Span<const float> values) {
                    norm_sq[b] += kernels::SumOfSquares(values);
                  });
    return;
  }
  const at::Tensor left = left_BTL.contiguous();
  const at::Tensor right = right_BTR.contiguous();
  float* products = products_BE.data_ptr<float>();
  at::parallel_for(0, left.size(0), 1, [&](int64_t begin, int64_t end) {
    std::vector<float> tile;
    for (int64_t b = begin; b < end; ++b) {
      norm_sq[b] +=
          StreamProduct(ExampleFactors(left, right, b), tile, products + b * products_BE.stride(0));
    }
    kernels::FinishStreaming();
  });
}

void AddColumnSumNormSq(const at::Tensor& values_BTR, const at::Tensor& sums_BR,
                        const at::Tensor& norm_sq_B) {
  const at::Tensor values = values_BTR.contiguous();
  const int64_t tokens = values.size(1);
  const int64_t width = values.size(2);
  const std::vector<float> ones(static_cast<size_t>(tokens), 1.0f);
  double* norm_sq = norm_sq_B.data_ptr<double>();
  at::parallel_for(0, values.size(0), 1, [&](int64_t begin, int64_t end) {
    std::vector<float> own(sums_BR.defined() ? 0 : static_cast<size_t>(width));
    for (int64_t b = begin; b < end; ++b) {
      float* out =
          sums_BR.defined() ? sums_BR.data_ptr<float>() + b * sums_BR.stride(0) : own.data();
      const absl::Span<float> sums = absl::MakeSpan(out, static_cast<size_t>(width));
      std::fill(sums.begin(), sums.end(), 0.0f);
      kernels::Fold(values.const_data_ptr<float>() + b * tokens * width, width, ones, sums);
      norm_sq[b] += kernels::SumOfSquares(sums);
    }
  });
}

void AddScaledOuterProducts(const at::Tensor& left_BTL, const at::Tensor& right_BTR,
                            const at::Tensor& coefficients_B, const at::Tensor& sum_LR) {
  if (!coefficients_B.defined()) {
    at::Tensor(sum_LR).addmm_(Flat(left_BTL).t(), Flat(right_BTR));
    return;
  }
  const at::Tensor factors_B11 = coefficients_B.view({-1, 1, 1});
  const bool scale_left = left_BTL.size(2) <= right_BTR.size(2);
  const at::Tensor left = scale_left ? left_BTL.mul(factors_B11) : left_BTL;
  const at::Tensor right = scale_left ? right_BTR : right_BTR.mul(factors_B11);
  at::Tensor(sum_LR).addmm_(Flat(left).t(), Flat(right));
}

void AddScaledColumnSums(const at::Tensor& values_BTR, const at::Tensor& coefficients_B,
                         const at::Tensor& sum_R) {
  const at::Tensor values = Flat(values_BTR);
  const at::Tensor factors = coefficients_B.defined()
                                 ? coefficients_B.view({-1, 1})
                                       .expand({values_BTR.size(0), values_BTR.size(1)})
                                       .reshape({-1})
                                 : at::ones({values.size(0)}, values.options());
  at::Tensor(sum_R).addmv_(values.t(), factors);
}

}  // namespace sotto::nn
