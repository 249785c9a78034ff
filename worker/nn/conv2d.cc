#include "worker/nn/conv2d.h"

#include <optional>
#include <tuple>
#include <vector>

#include "ATen/ops/conv2d.h"
#include "ATen/ops/convolution_backward.h"
#include "ATen/ops/im2col.h"
#include "kernels/sum_of_squares.h"
#include "worker/nn/float32.h"
#include "worker/nn/outer_product.h"
#include "worker/nn/outer_product_norm.h"

namespace sotto::nn {
namespace {

std::vector<int> ParametersOf(const Conv2d::Options& options) {
  std::vector<int> parameters;
  if (!options.weight_frozen) parameters.push_back(options.weight);
  if (options.bias != Conv2d::kNoBias && !options.bias_frozen) parameters.push_back(options.bias);
  return parameters;
}

// [B, O, H', W'] as rows [B, positions, O].
at::Tensor Rows(const at::Tensor& grads) { return grads.flatten(2).transpose(1, 2).contiguous(); }

}  // namespace

Conv2d::Conv2d(const Options& options)
    : Layer(ParametersOf(options), options.index), options_(options) {}

at::Tensor Conv2d::Forward(absl::Span<const at::Tensor> parameters, const at::Tensor& input,
                           SavedInput* saved) const {
  saved->activations = input;
  std::optional<at::Tensor> bias;
  if (options_.bias != kNoBias) bias = parameters[options_.bias];
  return at::conv2d(input, parameters[options_.weight], bias, options_.stride, options_.padding,
                    /*dilation=*/{1, 1}, options_.groups);
}

at::Tensor Conv2d::BackwardInput(absl::Span<const at::Tensor> parameters, const SavedInput& saved,
                                 const at::Tensor& output_grads) const {
  return std::get<0>(at::convolution_backward(
      output_grads, saved.activations, parameters[options_.weight], /*bias_sizes=*/std::nullopt,
      options_.stride, options_.padding, /*dilation=*/{1, 1}, /*transposed=*/false,
      /*output_padding=*/{0, 0}, options_.groups, std::array<bool, 3>{true, false, false}));
}

template <typename Use>
void Conv2d::ForEachGroup(const at::Tensor& input_CHW, const at::Tensor& grads_OHW,
                          const Use& use) const {
  const int64_t channels = input_CHW.size(0) / options_.groups;
  const int64_t outputs = grads_OHW.size(0) / options_.groups;
  for (int64_t group = 0; group < options_.groups; ++group) {
    const at::Tensor patches =
        at::im2col(input_CHW.narrow(0, group * channels, channels).unsqueeze(0), options_.kernel,
                   /*dilation=*/{1, 1}, options_.padding, options_.stride);
    use(group, Rows(grads_OHW.narrow(0, group * outputs, outputs).unsqueeze(0)),
        patches.transpose(1, 2).contiguous());
  }
}

void Conv2d::AddExampleNormSq(const SavedInput& saved, const at::Tensor& output_grads,
                              NormForm form, const at::Tensor& norm_sq_B) const {
  const at::Tensor grads = Float32(output_grads);
  if (trains_weight()) {
    const at::Tensor inputs = Float32(saved.activations);
    for (int64_t b = 0; b < grads.size(0); ++b) {
      ForEachGroup(inputs[b], grads[b],
                   [&](int64_t, const at::Tensor& rows, const at::Tensor& patches) {
                     AddOuterProductNormSq(rows, patches, form, norm_sq_B.narrow(0, b, 1));
                   });
    }
  }
  if (trains_bias()) AddColumnSumNormSq(Rows(grads), /*sums_BR=*/at::Tensor(), norm_sq_B);
}

void Conv2d::WeightGrad(const SavedInput& saved, const at::Tensor& output_grads,
                        const at::Tensor& coefficients_B,
                        absl::Span<const at::Tensor> gradients) const {
  const at::Tensor grads = Float32(output_grads);
  if (trains_weight() && grads.size(0) > 0) {
    const at::Tensor& sum = gradients[options_.weight];
    const at::Tensor scaled =
        coefficients_B.defined() ? grads.mul(coefficients_B.view({-1, 1, 1, 1})) : grads;
    at::Tensor(sum).add_(std::get<1>(at::convolution_backward(
        scaled, Float32(saved.activations), sum, /*bias_sizes=*/std::nullopt, options_.stride,
        options_.padding, /*dilation=*/{1, 1}, /*transposed=*/false, /*output_padding=*/{0, 0},
        options_.groups, std::array<bool, 3>{false, true, false})));
  }
  if (trains_bias()) AddScaledColumnSums(Rows(grads), coefficients_B, gradients[options_.bias]);
}

void Conv2d::ExampleGrads(const SavedInput& saved, const at::Tensor& output_grads,
                          absl::Span<const at::Tensor> slabs, const at::Tensor& norm_sq_B) const {
  const at::Tensor grads = Float32(output_grads);
  if (trains_weight()) {
    const at::Tensor inputs = Float32(saved.activations);
    double* norm_sq = norm_sq_B.data_ptr<double>();
    for (int64_t b = 0; b < grads.size(0); ++b) {
      const at::Tensor slab = slabs[options_.weight].narrow(0, b, 1);
      ForEachGroup(inputs[b], grads[b],
                   [&](int64_t group, const at::Tensor& rows, const at::Tensor& patches) {
                     const int64_t elements = rows.size(2) * patches.size(2);
                     OuterProducts(rows, patches, slab.narrow(1, group * elements, elements),
                                   [&](int64_t, absl::Span<const float> values) {
                                     norm_sq[b] += kernels::SumOfSquares(values);
                                   });
                   });
    }
  }
  if (trains_bias()) AddColumnSumNormSq(Rows(grads), slabs[options_.bias], norm_sq_B);
}

}  // namespace sotto::nn
