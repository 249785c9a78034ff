#include "worker/nn/outer_product.h"

#include <algorithm>
#include <vector>

#include "ATen/Parallel.h"
#include "ATen/ops/ones.h"
#include "kernels/fold.h"
#include "kernels/sum_of_squares.h"
#include "worker/nn/gemm.h"

namespace sotto::nn {
namespace {

// One example's product, row-major out[L, R] = left^T right.
void Product(const float* left, int64_t left_width, const float* right, int64_t right_width,
             int64_t tokens, float* out) {
  Gemm('N', 'T', right_width, left_width, tokens, right, right_width, left, left_width, out,
       right_width);
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
      Product(left.const_data_ptr<float>() + b * left.stride(0), left.size(2),
              right.const_data_ptr<float>() + b * right.stride(0), right.size(2), left.size(1),
              out);
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
