#include "worker/nn/outer_product.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "ATen/Parallel.h"
#include "ATen/ops/ones.h"
#include "kernels/fold.h"
#include "kernels/sum_of_squares.h"

// The BLAS inside libtorch_cpu, column-major. ATen's own wrapper of it is not exported.
extern "C" void sgemm_(const char* transpose_a, const char* transpose_b, const int* m, const int* n,
                       const int* k, const float* alpha, const float* a, const int* lda,
                       const float* b, const int* ldb, const float* beta, float* c, const int* ldc);

namespace sotto::nn {
namespace {

// Column-major c[m, n] = op(a)[m, k] op(b)[k, n].
void Gemm(char transpose_a, char transpose_b, int64_t m, int64_t n, int64_t k, const float* a,
          int64_t a_stride, const float* b, int64_t b_stride, float* c, int64_t c_stride) {
  const int sizes[] = {static_cast<int>(m), static_cast<int>(n), static_cast<int>(k)};
  const int strides[] = {static_cast<int>(a_stride), static_cast<int>(b_stride),
                         static_cast<int>(c_stride)};
  const float one = 1, zero = 0;
  sgemm_(&transpose_a, &transpose_b, &sizes[0], &sizes[1], &sizes[2], &one, a, &strides[0], b,
         &strides[1], &zero, c, &strides[2]);
}

// Rows of a Gram tile: two tiles (128 KiB) stay in the second-level cache.
constexpr int64_t kGramTile = 128;
// Elements of a tile of the direct form: 512 KiB, large enough for the product to run at full
// speed.
constexpr int64_t kDirectTile = int64_t{1} << 17;
// sum |terms| / |sum| beyond which Gram's rounding, a few 2^-24 of sum |terms|, could exceed the
// clipping margin.
constexpr double kMostCancellation = 64;

// One example's factors, row-major.
struct Factors {
  const float* left;
  const float* right;
  int64_t tokens;
  int64_t left_width;
  int64_t right_width;
};

Factors ExampleFactors(const at::Tensor& left_BTL, const at::Tensor& right_BTR, int64_t b) {
  return {.left = left_BTL.const_data_ptr<float>() + b * left_BTL.stride(0),
          .right = right_BTR.const_data_ptr<float>() + b * right_BTR.stride(0),
          .tokens = left_BTL.size(1),
          .left_width = left_BTL.size(2),
          .right_width = right_BTR.size(2)};
}

// Row-major out[rows, columns] = left[:, rows]^T right[:, columns], where both pointers start at
// their first column.
void Product(const Factors& f, int64_t rows, int64_t columns, float* out, int64_t out_stride) {
  Gemm('N', 'T', columns, rows, f.tokens, f.right, f.right_width, f.left, f.left_width, out,
       out_stride);
}

// out[i, j] = values[i] . others[j], rows of `width` floats.
void Gram(const float* values, int64_t rows, const float* others, int64_t columns, int64_t width,
          float* out) {
  Gemm('T', 'N', columns, rows, width, others, width, values, width, out, columns);
}

double DirectNormSq(const Factors& whole, std::vector<float>& scratch) {
  const int64_t columns =
      std::min(whole.right_width, std::max<int64_t>(64, kDirectTile / whole.left_width));
  const int64_t rows = std::min(whole.left_width, std::max<int64_t>(1, kDirectTile / columns));
  scratch.resize(static_cast<size_t>(rows * columns));
  double total = 0;
  for (int64_t i = 0; i < whole.left_width; i += rows) {
    for (int64_t j = 0; j < whole.right_width; j += columns) {
      const int64_t tile_rows = std::min(rows, whole.left_width - i);
      const int64_t tile_columns = std::min(columns, whole.right_width - j);
      Factors tile = whole;
      tile.left += i;
      tile.right += j;
      Product(tile, tile_rows, tile_columns, scratch.data(), tile_columns);
      total += kernels::SumOfSquares(
          absl::MakeConstSpan(scratch.data(), static_cast<size_t>(tile_rows * tile_columns)));
    }
  }
  return total;
}

struct GramSum {
  double sum = 0;
  double absolute = 0;
};

GramSum TileSum(const float* left, const float* right, int64_t size) {
  GramSum total;
  for (int64_t begin = 0; begin < size; begin += kernels::kSquareBlock) {
    const int64_t end = std::min<int64_t>(size, begin + kernels::kSquareBlock);
    float sum = 0;
    float absolute = 0;
    for (int64_t i = begin; i < end; ++i) {
      const float term = left[i] * right[i];
      sum += term;
      absolute += std::fabs(term);
    }
    total.sum += sum;
    total.absolute += absolute;
  }
  return total;
}

GramSum GramNormSq(const Factors& f, std::vector<float>& scratch) {
  scratch.resize(2 * kGramTile * kGramTile);
  float* left_gram = scratch.data();
  float* right_gram = scratch.data() + kGramTile * kGramTile;
  GramSum total;
  for (int64_t t = 0; t < f.tokens; t += kGramTile) {
    for (int64_t s = t; s < f.tokens; s += kGramTile) {
      const int64_t rows = std::min(kGramTile, f.tokens - t);
      const int64_t columns = std::min(kGramTile, f.tokens - s);
      Gram(f.left + t * f.left_width, rows, f.left + s * f.left_width, columns, f.left_width,
           left_gram);
      Gram(f.right + t * f.right_width, rows, f.right + s * f.right_width, columns, f.right_width,
           right_gram);
      const GramSum tile = TileSum(left_gram, right_gram, rows * columns);
      const double weight = s == t ? 1 : 2;
      total.sum += weight * tile.sum;
      total.absolute += weight * tile.absolute;
    }
  }
  return total;
}

bool GramIsCheaper(const Factors& f) {
  const int64_t tiles = (f.tokens + kGramTile - 1) / kGramTile;
  const int64_t tile = std::min(f.tokens, kGramTile);
  const int64_t gram = tiles * (tiles + 1) / 2 * tile * tile * (f.left_width + f.right_width);
  return gram < f.tokens * f.left_width * f.right_width;
}

double NormSq(const Factors& f, std::vector<float>& scratch) {
  if (!GramIsCheaper(f)) return DirectNormSq(f, scratch);
  const GramSum gram = GramNormSq(f, scratch);
  // Written so that NaN takes the direct form too.
  if (gram.absolute <= kMostCancellation * gram.sum) return gram.sum;
  return gram.absolute == 0 ? 0 : DirectNormSq(f, scratch);
}

at::Tensor Flat(const at::Tensor& values_BTR) {
  return values_BTR.reshape({values_BTR.size(0) * values_BTR.size(1), values_BTR.size(2)});
}

}  // namespace

void AddOuterProductNormSq(const at::Tensor& left_BTL, const at::Tensor& right_BTR,
                           const at::Tensor& norm_sq_B) {
  const at::Tensor left = left_BTL.contiguous();
  const at::Tensor right = right_BTR.contiguous();
  double* norm_sq = norm_sq_B.data_ptr<double>();
  at::parallel_for(0, left.size(0), 1, [&](int64_t begin, int64_t end) {
    std::vector<float> scratch;
    for (int64_t b = begin; b < end; ++b) {
      norm_sq[b] += NormSq(ExampleFactors(left, right, b), scratch);
    }
  });
}

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
      Product(f, f.left_width, f.right_width, out, f.right_width);
      visit(b, absl::MakeConstSpan(out, static_cast<size_t>(elements)));
    }
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
