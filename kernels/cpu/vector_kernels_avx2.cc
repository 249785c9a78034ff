#include "kernels/cpu/vector_kernels_avx2.h"

#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/sum_of_squares.h"

#define SOTTO_AVX2 __attribute__((target("avx2,fma")))

namespace sotto::kernels::cpu {
namespace {

constexpr int64_t kLanes = 8;
// The fold reads eight rows side by side, for as many loads in flight as the core holds, and asks
// for what comes 1 KiB later: rows are too short between turns for the hardware to foresee. The
// output's block stays in the first-level cache meanwhile: 4 KiB.
constexpr int64_t kFoldBlock = 1024;
constexpr int64_t kFoldPrefetch = 256;

SOTTO_AVX2 float HorizontalSum(__m256 v) {
  __m128 sum = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
  sum = _mm_add_ss(sum, _mm_movehdup_ps(sum));
  return _mm_cvtss_f32(sum);
}

// exp(x) for x <= 0 (NaN stays NaN): 2^n e^r with |r| <= ln(2)/2, Cephes' polynomial.
SOTTO_AVX2 __m256 Exp(__m256 x) {
  // The second operand wins when one is NaN. Below -87 the result is at most 1.6e-38: near zero is
  // good enough.
  x = _mm256_max_ps(_mm256_set1_ps(-87.0f), x);
  const __m256 n = _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(1.44269504088896341f)),
                                   _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0.693359375f), x);
  r = _mm256_fnmadd_ps(n, _mm256_set1_ps(-2.12194440e-4f), r);
  __m256 p = _mm256_set1_ps(1.9875691500e-4f);
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.3981999507e-3f));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(8.3334519073e-3f));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(4.1665795894e-2f));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.6666665459e-1f));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(5.0000001201e-1f));
  p = _mm256_fmadd_ps(p, _mm256_mul_ps(r, r), _mm256_add_ps(r, _mm256_set1_ps(1.0f)));
  const __m256i exponent =
      _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
  return _mm256_mul_ps(p, _mm256_castsi256_ps(exponent));
}

// What becomes of values besides their squares.
enum class Copy { kNone, kStore, kStream };

// The sum of a block's squares; copies the block to `out`, which kStream wants 32-byte aligned.
template <Copy copy>
SOTTO_AVX2 float SquareBlock(const float* values, int64_t size, float* out) {
  __m256 sums[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(),
                    _mm256_setzero_ps()};
  int64_t i = 0;
  for (; i + 4 * kLanes <= size; i += 4 * kLanes) {
    for (int k = 0; k < 4; ++k) {
      const __m256 v = _mm256_loadu_ps(values + i + k * kLanes);
      if constexpr (copy == Copy::kStore) _mm256_storeu_ps(out + i + k * kLanes, v);
      if constexpr (copy == Copy::kStream) _mm256_stream_ps(out + i + k * kLanes, v);
      sums[k] = _mm256_fmadd_ps(v, v, sums[k]);
    }
  }
  float rest = 0;
  for (; i < size; ++i) {
    if constexpr (copy != Copy::kNone) out[i] = values[i];
    rest += values[i] * values[i];
  }
  return HorizontalSum(
             _mm256_add_ps(_mm256_add_ps(sums[0], sums[1]), _mm256_add_ps(sums[2], sums[3]))) +
         rest;
}

template <Copy copy>
double SquareBlocks(absl::Span<const float> values, float* out) {
  const int64_t size = static_cast<int64_t>(values.size());
  double total = 0;
  for (int64_t begin = 0; begin < size; begin += kSquareBlock) {
    total += SquareBlock<copy>(values.data() + begin, std::min<int64_t>(kSquareBlock, size - begin),
                               copy == Copy::kNone ? nullptr : out + begin);
  }
  return total;
}

struct ScaledRow {
  const float* values;
  float coefficient;
};

// out += the rows' sum, in their order.
template <int kRows>
SOTTO_AVX2 void AddScaledRows(const ScaledRow* rows, int64_t begin, int64_t size, float* out) {
  __m256 coefficients[kRows];
  for (int b = 0; b < kRows; ++b) coefficients[b] = _mm256_set1_ps(rows[b].coefficient);
  int64_t i = begin;
  const int64_t end = begin + size;
  for (; i + 2 * kLanes <= end; i += 2 * kLanes) {
    __m256 low = _mm256_loadu_ps(out + i);
    __m256 high = _mm256_loadu_ps(out + i + kLanes);
    for (int b = 0; b < kRows; ++b) {
      const float* row = rows[b].values + i;
      _mm_prefetch(row + kFoldPrefetch, _MM_HINT_T0);
      low = _mm256_fmadd_ps(coefficients[b], _mm256_loadu_ps(row), low);
      high = _mm256_fmadd_ps(coefficients[b], _mm256_loadu_ps(row + kLanes), high);
    }
    _mm256_storeu_ps(out + i, low);
    _mm256_storeu_ps(out + i + kLanes, high);
  }
  for (; i < end; ++i) {
    for (int b = 0; b < kRows; ++b) {
      out[i] = std::fma(rows[b].coefficient, rows[b].values[i], out[i]);
    }
  }
}

SOTTO_AVX2 float Highest(absl::Span<const float> values) {
  const int64_t size = static_cast<int64_t>(values.size());
  __m256 highest = _mm256_set1_ps(-std::numeric_limits<float>::infinity());
  int64_t i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    highest = _mm256_max_ps(highest, _mm256_loadu_ps(values.data() + i));
  }
  float lanes[kLanes];
  _mm256_storeu_ps(lanes, highest);
  float result = *std::max_element(lanes, lanes + kLanes);
  for (; i < size; ++i) result = std::max(result, values[i]);
  return result;
}

// values = exp(values - highest); returns their sum.
SOTTO_AVX2 double ExpInPlace(float highest, absl::Span<float> values) {
  const int64_t size = static_cast<int64_t>(values.size());
  const __m256 shift = _mm256_set1_ps(highest);
  double total = 0;
  int64_t i = 0;
  while (i + kLanes <= size) {
    const int64_t end = std::min<int64_t>(size, i + kSquareBlock);
    __m256 sum = _mm256_setzero_ps();
    for (; i + kLanes <= end; i += kLanes) {
      const __m256 e = Exp(_mm256_sub_ps(_mm256_loadu_ps(values.data() + i), shift));
      _mm256_storeu_ps(values.data() + i, e);
      sum = _mm256_add_ps(sum, e);
    }
    total += HorizontalSum(sum);
  }
  for (; i < size; ++i) {
    values[i] = std::exp(values[i] - highest);
    total += values[i];
  }
  return total;
}

}  // namespace

bool HasAvx2() {
  static const bool has = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  return has;
}

double SumOfSquaresAvx2(absl::Span<const float> values) {
  return SquareBlocks<Copy::kNone>(values, nullptr);
}

SOTTO_AVX2 double SumOfSquares64Avx2(absl::Span<const float> values) {
  const int64_t size = static_cast<int64_t>(values.size());
  __m256d sums[4] = {_mm256_setzero_pd(), _mm256_setzero_pd(), _mm256_setzero_pd(),
                     _mm256_setzero_pd()};
  int64_t i = 0;
  for (; i + 16 <= size; i += 16) {
    for (int k = 0; k < 4; ++k) {
      const __m256d v = _mm256_cvtps_pd(_mm_loadu_ps(values.data() + i + 4 * k));
      sums[k] = _mm256_fmadd_pd(v, v, sums[k]);
    }
  }
  double lanes[4];
  _mm256_storeu_pd(lanes,
                   _mm256_add_pd(_mm256_add_pd(sums[0], sums[1]), _mm256_add_pd(sums[2], sums[3])));
  double total = (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
  for (; i < size; ++i) total += static_cast<double>(values[i]) * values[i];
  return total;
}

double StreamWithNormAvx2(absl::Span<const float> values, float* out) {
  if (reinterpret_cast<uintptr_t>(out) % sizeof(__m256) != 0) {
    return SquareBlocks<Copy::kStore>(values, out);
  }
  return SquareBlocks<Copy::kStream>(values, out);
}

void FinishStreamingAvx2() { _mm_sfence(); }

void FoldAvx2(const float* rows, int64_t row_stride, absl::Span<const float> coefficients,
              absl::Span<float> out) {
  std::vector<ScaledRow> read;
  for (size_t b = 0; b < coefficients.size(); ++b) {
    if (coefficients[b] == 0) continue;
    read.push_back({rows + static_cast<int64_t>(b) * row_stride, coefficients[b]});
  }
  const int64_t size = static_cast<int64_t>(out.size());
  const int64_t count = static_cast<int64_t>(read.size());
  for (int64_t begin = 0; begin < size; begin += kFoldBlock) {
    const int64_t block = std::min(kFoldBlock, size - begin);
    int64_t b = 0;
    for (; b + 8 <= count; b += 8) AddScaledRows<8>(&read[b], begin, block, out.data());
    if (count - b >= 4) AddScaledRows<4>(&read[b], begin, block, out.data()), b += 4;
    if (count - b >= 2) AddScaledRows<2>(&read[b], begin, block, out.data()), b += 2;
    if (count - b >= 1) AddScaledRows<1>(&read[b], begin, block, out.data());
  }
}

SOTTO_AVX2 float SoftmaxGradientAvx2(absl::Span<float> logits, int64_t target, float weight) {
  const float highest = Highest(logits);
  const float target_logit = logits[target];
  const double sum = ExpInPlace(highest, logits);
  const float scale = static_cast<float>(weight / sum);
  const int64_t size = static_cast<int64_t>(logits.size());
  const __m256 factor = _mm256_set1_ps(scale);
  int64_t i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    _mm256_storeu_ps(logits.data() + i, _mm256_mul_ps(_mm256_loadu_ps(logits.data() + i), factor));
  }
  for (; i < size; ++i) logits[i] *= scale;
  logits[target] -= weight;
  return static_cast<float>(std::log(sum)) + (highest - target_logit);
}

SOTTO_AVX2 void LayerNormGradientAvx2(const float* input, const float* output_grads,
                                      absl::Span<const float> mean,
                                      absl::Span<const float> reciprocal_std,
                                      absl::Span<float> gain_grad, absl::Span<float> bias_grad) {
  const int64_t width = static_cast<int64_t>(gain_grad.size());
  for (size_t t = 0; t < mean.size(); ++t) {
    const float* x = input + static_cast<int64_t>(t) * width;
    const float* g = output_grads + static_cast<int64_t>(t) * width;
    const __m256 mu = _mm256_set1_ps(mean[t]);
    const __m256 rho = _mm256_set1_ps(reciprocal_std[t]);
    int64_t j = 0;
    for (; j + kLanes <= width; j += kLanes) {
      const __m256 grad = _mm256_loadu_ps(g + j);
      const __m256 normalised = _mm256_mul_ps(_mm256_sub_ps(_mm256_loadu_ps(x + j), mu), rho);
      float* gain = gain_grad.data() + j;
      float* bias = bias_grad.data() + j;
      _mm256_storeu_ps(gain, _mm256_fmadd_ps(normalised, grad, _mm256_loadu_ps(gain)));
      _mm256_storeu_ps(bias, _mm256_add_ps(grad, _mm256_loadu_ps(bias)));
    }
    for (; j < width; ++j) {
      gain_grad[j] += (x[j] - mean[t]) * reciprocal_std[t] * g[j];
      bias_grad[j] += g[j];
    }
  }
}

}  // namespace sotto::kernels::cpu
