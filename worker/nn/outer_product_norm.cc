#include "worker/nn/outer_product_norm.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "ATen/Parallel.h"
#include "ATen/ops/empty.h"
#include "absl/types/span.h"
#include "kernels/fold.h"
#include "kernels/sum_of_squares.h"
#include "worker/nn/gemm.h"

namespace sotto::nn {
namespace {

// Rows of a Gram tile: two tiles (128 KiB) stay in the second-level cache.
constexpr int64_t kGramTile = 128;
// Elements of a tile of the direct form: 512 KiB, large enough for the product to run at full
// speed.
constexpr int64_t kDirectTile = int64_t{1} << 17;
// sum |terms| / |sum| beyond which Gram's rounding, a few 2^-24 of sum |terms|, could exceed the
// clipping margin.
constexpr double kMostCancellation = 64;
// What underflow may have taken from a sum, as a share of it: below the clipping margin.
constexpr double kMostUnderflow = 0x1p-17;
// Squared norms below it are no matter: nobody clips at 2^-40.
constexpr double kNegligible = 0x1p-80;

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
  // The largest squared length of a row of left and of right.
  float longest_left = 0;
  float longest_right = 0;

  // Rows may be so short, on one side, that their products are denormal, and so long on the other
  // that what is lost there matters: products of rows of width L are off by at most L 2^-149.
  bool HoldsFor(const Factors& f) const {
    const double pairs = static_cast<double>(f.tokens) * static_cast<double>(f.tokens);
    const double lost = pairs * 0x1p-149 *
                        (static_cast<double>(f.left_width) * longest_right +
                         static_cast<double>(f.right_width) * longest_left);
    // Written so that NaN does not hold.
    return absolute <= kMostCancellation * std::max(sum, kNegligible) &&
           lost <= kMostUnderflow * std::max(sum, kNegligible);
  }
};

// Largest of the diagonal of a `rows` x `rows` matrix, at least `largest`.
float LargestOnDiagonal(const float* gram, int64_t rows, float largest) {
  for (int64_t i = 0; i < rows; ++i) largest = std::max(largest, gram[i * (rows + 1)]);
  return largest;
}

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

// The upper triangle of the Gram matrices in tiles.
GramSum TiledGramNormSq(const Factors& f, std::vector<float>& scratch) {
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
      if (s == t) {
        total.longest_left = LargestOnDiagonal(left_gram, rows, total.longest_left);
        total.longest_right = LargestOnDiagonal(right_gram, rows, total.longest_right);
      }
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

// Room for both Gram matrices of one example on each thread of a loop over examples: a tensor, so
// that worker/memory counts it, made before the loop, so that it is there at once in every run.
// Known to common/layout/layer_memory. Nothing unless the form takes whole matrices.
class GramMatrices {
 public:
  GramMatrices(NormForm form, int64_t examples, int64_t tokens) {
    if (form != NormForm::kGram || tokens == 1 || examples == 0) return;
    // A loop inside another one runs in its thread alone.
    const int64_t threads =
        at::in_parallel_region() ? 1 : std::min<int64_t>(at::get_num_threads(), examples);
    values_ = at::empty({threads, 2 * tokens * tokens}, at::kFloat);
  }

  // The calling thread's, 2 T^2 values; null for another form.
  float* OfThisThread() const {
    if (!values_.defined()) return nullptr;
    return values_.data_ptr<float>() + at::get_thread_num() * values_.stride(0);
  }

 private:
  at::Tensor values_;
};

// Both Gram matrices in full.
GramSum WholeGramNormSq(const Factors& f, float* left_gram) {
  const int64_t size = f.tokens * f.tokens;
  float* const right_gram = left_gram + size;
  Gram(f.left, f.tokens, f.left, f.tokens, f.left_width, left_gram);
  Gram(f.right, f.tokens, f.right, f.tokens, f.right_width, right_gram);
  GramSum total = TileSum(left_gram, right_gram, size);
  total.longest_left = LargestOnDiagonal(left_gram, f.tokens, 0);
  total.longest_right = LargestOnDiagonal(right_gram, f.tokens, 0);
  return total;
}

double WholeProductNormSq(const Factors& f, std::vector<float>& scratch) {
  scratch.resize(static_cast<size_t>(f.left_width * f.right_width));
  Product(f, f.left_width, f.right_width, scratch.data(), f.right_width);
  return kernels::SumOfSquares(scratch);
}

double VectorNormSq(const float* values, int64_t width) {
  return kernels::SumOfSquares(absl::MakeConstSpan(values, static_cast<size_t>(width)));
}

// `matrices`: 2 T^2 values with kGram.
double NormSq(const Factors& f, NormForm form, float* matrices, std::vector<float>& scratch) {
  if (f.tokens == 1) {
    const double left = VectorNormSq(f.left, f.left_width);
    const double right = VectorNormSq(f.right, f.right_width);
    const GramSum lengths{.sum = left * right,
                          .longest_left = static_cast<float>(left),
                          .longest_right = static_cast<float>(right)};
    return lengths.HoldsFor(f) ? lengths.sum : DirectNormSq(f, scratch);
  }
  if (form == NormForm::kFromGradient) return WholeProductNormSq(f, scratch);
  if (form == NormForm::kTiled && !GramIsCheaper(f)) return DirectNormSq(f, scratch);
  const GramSum gram =
      form == NormForm::kGram ? WholeGramNormSq(f, matrices) : TiledGramNormSq(f, scratch);
  return gram.HoldsFor(f) ? gram.sum : DirectNormSq(f, scratch);
}

double ColumnSumNormSq(const Factors& f, std::vector<float>& scratch) {
  scratch.assign(static_cast<size_t>(f.right_width), 0.0f);
  const std::vector<float> ones(static_cast<size_t>(f.tokens), 1.0f);
  kernels::Fold(f.right, f.right_width, ones, absl::MakeSpan(scratch));
  return kernels::SumOfSquares(scratch);
}

// Row-major out[T, I] = grads[T, O] weight^T.
void InputGrads(const Factors& f, const float* weight, bool output_first, float* out) {
  const int64_t inputs = f.left_width;
  const int64_t outputs = f.right_width;
  if (output_first) {
    Gemm('N', 'N', inputs, f.tokens, outputs, weight, inputs, f.right, outputs, out, inputs);
  } else {
    Gemm('T', 'N', inputs, f.tokens, outputs, weight, outputs, f.right, outputs, out, inputs);
  }
}

}  // namespace

void AddOuterProductNormSq(const at::Tensor& left_BTL, const at::Tensor& right_BTR, NormForm form,
                           const at::Tensor& norm_sq_B) {
  const at::Tensor left = left_BTL.contiguous();
  const at::Tensor right = right_BTR.contiguous();
  double* norm_sq = norm_sq_B.data_ptr<double>();
  const GramMatrices matrices(form, left.size(0), left.size(1));
  at::parallel_for(0, left.size(0), 1, [&](int64_t begin, int64_t end) {
    std::vector<float> scratch;
    for (int64_t b = begin; b < end; ++b) {
      norm_sq[b] += NormSq(ExampleFactors(left, right, b), form, matrices.OfThisThread(), scratch);
    }
  });
}

at::Tensor InputGradsWithNormSq(const at::Tensor& input_BTI, const at::Tensor& grads_BTO,
                                const at::Tensor& weight, bool output_first, bool with_bias,
                                NormForm form, const at::Tensor& norm_sq_B) {
  const at::Tensor input = input_BTI.contiguous();
  const at::Tensor grads = grads_BTO.contiguous();
  const at::Tensor input_grads = at::empty(input.sizes(), input.options());
  float* out = input_grads.data_ptr<float>();
  double* norm_sq = norm_sq_B.defined() ? norm_sq_B.data_ptr<double>() : nullptr;
  const GramMatrices matrices(norm_sq == nullptr ? NormForm::kTiled : form, input.size(0),
                              input.size(1));
  at::parallel_for(0, input.size(0), 1, [&](int64_t begin, int64_t end) {
    std::vector<float> scratch;
    for (int64_t b = begin; b < end; ++b) {
      const Factors f = ExampleFactors(input, grads, b);
      InputGrads(f, weight.const_data_ptr<float>(), output_first,
                 out + b * f.tokens * f.left_width);
      if (norm_sq == nullptr) continue;
      norm_sq[b] += NormSq(f, form, matrices.OfThisThread(), scratch);
      if (with_bias) norm_sq[b] += ColumnSumNormSq(f, scratch);
    }
  });
  return input_grads;
}

}  // namespace sotto::nn
