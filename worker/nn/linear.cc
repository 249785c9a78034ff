#include "worker/nn/linear.h"

#include <utility>
#include <vector>

#include "ATen/ops/addmm.h"
#include "ATen/ops/mm.h"
#include "kernels/sum_of_squares.h"
#include "worker/nn/outer_product.h"

namespace sotto::nn {
namespace {

std::vector<int> ParametersOf(const Linear::Options& options) {
  if (options.bias == Linear::kNoBias) return {options.weight};
  return {options.weight, options.bias};
}

at::Tensor Flat(const at::Tensor& values_BTR) {
  return values_BTR.reshape({values_BTR.size(0) * values_BTR.size(1), values_BTR.size(2)});
}

}  // namespace

Linear::Linear(const Options& options) : Layer(ParametersOf(options)), options_(options) {}

at::Tensor Linear::Forward(absl::Span<const at::Tensor> parameters, const at::Tensor& input,
                           SavedInput* saved) const {
  saved->activations = input;
  const at::Tensor& stored = parameters[options_.weight];
  const at::Tensor weight_IO = output_first() ? stored.t() : stored;
  const at::Tensor output = has_bias()
                                ? at::addmm(parameters[options_.bias], Flat(input), weight_IO)
                                : at::mm(Flat(input), weight_IO);
  return output.view({input.size(0), input.size(1), weight_IO.size(1)});
}

at::Tensor Linear::BackwardInput(absl::Span<const at::Tensor> parameters, const SavedInput& saved,
                                 const at::Tensor& output_grads) const {
  const at::Tensor& stored = parameters[options_.weight];
  const at::Tensor weight_OI = output_first() ? stored : stored.t();
  return at::mm(Flat(output_grads), weight_OI)
      .view({output_grads.size(0), output_grads.size(1), weight_OI.size(1)});
}

void Linear::AddExampleNormSq(const SavedInput& saved, const at::Tensor& output_grads,
                              const at::Tensor& norm_sq_B) const {
  AddOuterProductNormSq(saved.activations, output_grads, norm_sq_B);
  if (has_bias()) AddColumnSumNormSq(output_grads, /*sums_BR=*/at::Tensor(), norm_sq_B);
}

void Linear::WeightGrad(const SavedInput& saved, const at::Tensor& output_grads,
                        const at::Tensor& coefficients_B,
                        absl::Span<const at::Tensor> gradients) const {
  const at::Tensor* left = &saved.activations;
  const at::Tensor* right = &output_grads;
  if (output_first()) std::swap(left, right);
  AddScaledOuterProducts(*left, *right, coefficients_B, gradients[options_.weight]);
  if (has_bias()) AddScaledColumnSums(output_grads, coefficients_B, gradients[options_.bias]);
}

void Linear::ExampleGrads(const SavedInput& saved, const at::Tensor& output_grads,
                          absl::Span<const at::Tensor> slabs, const at::Tensor& norm_sq_B) const {
  double* norm_sq = norm_sq_B.data_ptr<double>();
  const at::Tensor* left = &saved.activations;
  const at::Tensor* right = &output_grads;
  if (output_first()) std::swap(left, right);
  OuterProducts(*left, *right, slabs[options_.weight],
                [norm_sq](int64_t b, absl::Span<const float> values) {
                  norm_sq[b] += kernels::SumOfSquares(values);
                });
  if (has_bias()) AddColumnSumNormSq(output_grads, slabs[options_.bias], norm_sq_B);
}

}  // namespace sotto::nn
