#ifndef SOTTO_WORKER_NN_OUTER_PRODUCT_NORM_H_
#define SOTTO_WORKER_NN_OUTER_PRODUCT_NORM_H_

#include "ATen/core/Tensor.h"
#include "worker/nn/layer.h"

namespace sotto::nn {

// Norms of per-example products M_b = sum_t left[b, t] right[b, t]^T of contiguous float32 left
// [B, T, L] and right [B, T, R], on the CPU. Examples are split over ATen's threads; within one
// example the order of additions does not depend on B.

// Adds ||M_b||^2 to norm_sq_B (float64). With one token it is |left|^2 |right|^2 in every form;
// else, for one example per thread,
//   kGram          sum_{t,s} (left_t . left_s)(right_t . right_s) from two T x T matrices, which
//                  are a tensor of 8 T^2 bytes for each thread that has an example;
//   kTiled         the cheaper of the same sum over its upper triangle, in tiles of at most
//                  128 x 128, and tiles of M_b, squared and dropped;
//   kFromGradient  the whole of M_b.
// Where the first sum's terms cancel so far that its rounding would matter (sum |terms| > 64
// |sum|), or rows are so short that products of them underflow while those of the other side are
// long, tiles of M_b are used instead, so that the relative error of the norm stays below 2^-15,
// half of the clipping margin. The same holds with one token. (Norms below 2^-40 may come out as
// zero.)
void AddOuterProductNormSq(const at::Tensor& left_BTL, const at::Tensor& right_BTR, NormForm form,
                           const at::Tensor& norm_sq_B);

// A linear layer's verbs 2 and 3, example by example: adds ||sum_t input_t grad_t^T||^2 to
// norm_sq_B (and ||sum_t grad_t||^2, `with_bias`) and returns the input's gradients
// grads_BTO weight^T, the same bits whether or not `norm_sq_B` is
// defined. `weight` is [I, O], or [O, I] with `output_first`.
at::Tensor InputGradsWithNormSq(const at::Tensor& input_BTI, const at::Tensor& grads_BTO,
                                const at::Tensor& weight, bool output_first, bool with_bias,
                                NormForm form, const at::Tensor& norm_sq_B);

}  // namespace sotto::nn

#endif  // SOTTO_WORKER_NN_OUTER_PRODUCT_NORM_H_
