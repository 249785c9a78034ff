#include "worker/nn/linear.h"

#include <vector>

#include "ATen/ops/addmm.h"
#include "ATen/ops/mm.h"
#include "worker/nn/float32.h"
#include "worker/nn/outer_product.h"
#include "worker/nn/outer_product_norm.h"

namespace sotto::nn {
namespace {

std::vector<int> ParametersOf(const Linear::Options& options) {
  std::vector<int> parameters;
  if (!options.weight_frozen) parameters.push_back(options.weight);
  if (options.bias != Linear::kNoBias && !options.bias_frozen) parameters.push_back(options.bias);
  return parameters;
}

at::Tensor Flat(const at::Tensor& values_BTR) {
  return values_BTR.reshape({values_BTR.size(0) * values_BTR.size(1), values_BTR.size(2)});
}

}  // namespace

Linear::Linear(const Options& options)
    : Layer(ParametersOf(options), options.index), options_(options) {}

at::Tensor Linear::Forward(absl::Span<const at::Tensor> parameters, const at::Tensor& input,
                           SavedInput* saved) const {
  saved->activations = trains_weight() ? input : at::Tensor();
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
                              NormForm form, const at::Tensor& norm_sq_B) const {
  const at::Tensor grads = Float32(output_grads);
  if (trains_weight()) {
    AddOuterProductNormSq(Float32(saved.activations), grads, form, norm_sq_B);
  }
  if (trains_bias()) AddColumnSumNormSq(grads, /*sums_BR=*/at::Tensor(), norm_sq_B);
}

at::Tensor Linear::BackwardInputWithNormSq(absl::Span<const at::Tensor> parameters,
                                           const SavedInput& saved, const at::Tensor& output_grads,
                                           NormForm form, const at::Tensor& norm_sq_B) const {
  // In bfloat16 both passes must round an input gradient alike: a norm would not be that of the
  // gradient that is scaled by it.
  if (output_grads.scalar_type() != at::kFloat || !trains_weight()) {
    return Layer::BackwardInputWithNormSq(parameters, saved, output_grads, form, norm_sq_B);
  }
  return InputGradsWithNormSq(saved.activations, output_grads, parameters[options_.weight],
                              output_first(), trains_bias(), form, norm_sq_B);
}

void Linear::WeightGrad(const SavedInput& saved, const at::Tensor& output_grads,
                        const at::Tensor& coefficients_B,
                        absl::Span<const at::Tensor> gradients) const {
  const at::Tensor grads = Float32(output_grads);
  if (trains_weight()) {
    const at::Tensor inputs = Float32(saved.activations);
    AddScaledOuterProducts(output_first() ? grads : inputs, output_first() ? inputs : grads,
                           coefficients_B, gradients[options_.weight]);
  }
  if (trains_bias()) AddScaledColumnSums(grads, coefficients_B, gradients[options_.bias]);
}

void Linear::ExampleGrads(const SavedInput& saved, const at::Tensor& output_grads,
                          absl::Span<const at::Tensor> slabs, const at::Tensor& norm_sq_B) const {
  const at::Tensor grads = Float32(output_grads);
  if (trains_weight()) {
    const at::Tensor inputs = Float32(saved.activations);
    OuterProductsWithNormSq(output_first() ? grads : inputs, output_first() ? inputs : grads,
                            slabs[options_.weight], norm_sq_B);
  }
  if (trains_bias()) AddColumnSumNormSq(grads, slabs[options_.bias], norm_sq_B);
}

}  // namespace sotto::nn
