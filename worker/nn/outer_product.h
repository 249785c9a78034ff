#ifndef SOTTO_WORKER_NN_OUTER_PRODUCT_H_
#define SOTTO_WORKER_NN_OUTER_PRODUCT_H_

#include <cstdint>

#include "ATen/core/Tensor.h"
#include "absl/functional/function_ref.h"
#include "absl/types/span.h"

namespace sotto::nn {

// Per-example products M_b = sum_t left[b, t] right[b, t]^T of contiguous float32 left [B, T, L]
// and right [B, T, R], on the CPU. Examples are split over ATen's threads; within one example the
// order of additions does not depend on B.

// Overwrites the rows of products_BE (E = L * R; rows may be far apart) with M_b.
// `visit(b, values)` is called for each finished example by the thread that made it.
void OuterProducts(const at::Tensor& left_BTL, const at::Tensor& right_BTR,
                   const at::Tensor& products_BE,
                   absl::FunctionRef<void(int64_t b, absl::Span<const float> values)> visit);

// The same, and adds ||M_b||^2 to norm_sq_B (float64). A large product is formed in tiles that stay
// in cache until their squares are summed, and is stored past the caches.
void OuterProductsWithNormSq(const at::Tensor& left_BTL, const at::Tensor& right_BTR,
                             const at::Tensor& products_BE, const at::Tensor& norm_sq_B);

// Adds ||sum_t values[b, t]||^2 to norm_sq_B; when `sums_BR` is defined (rows may be far apart),
// the sums are written there.
void AddColumnSumNormSq(const at::Tensor& values_BTR, const at::Tensor& sums_BR,
                        const at::Tensor& norm_sq_B);

// Adds sum_b c_b M_b to sum_LR, in one product. Undefined coefficients mean ones; they scale the
// narrower factor.
void AddScaledOuterProducts(const at::Tensor& left_BTL, const at::Tensor& right_BTR,
                            const at::Tensor& coefficients_B, const at::Tensor& sum_LR);

// Adds sum_b c_b sum_t values[b, t] to sum_R.
void AddScaledColumnSums(const at::Tensor& values_BTR, const at::Tensor& coefficients_B,
                         const at::Tensor& sum_R);

}  // namespace sotto::nn

#endif  // SOTTO_WORKER_NN_OUTER_PRODUCT_H_
