#include "worker/nn/conv2d.h"

#include <algorithm>
#include <optional>
#include <tuple>
#include <vector>

#include "ATen/ops/conv2d.h"
#include "ATen/ops/convolution_backward.h"
#include "ATen/ops/empty.h"
#include "ATen/ops/im2col.h"
#include "kernels/sum_of_squares.h"
#include "worker/nn/float32.h"
#include "worker/nn/outer_product.h"
#include "worker/nn/outer_product_norm.h"

namespace sotto::nn {
namespace {

// Inputs and outputs of one pass, 1 MiB, unless the weight is larger: each pass copies that, too.
// Known to common/layout/layer_memory.
constexpr int64_t kPassElements = int64_t{1} << 18;

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

template <typename Use>
void Conv2d::ForEachPass(const at::Tensor& input, const at::Tensor& output, int64_t weight_elements,
                         const Use& use) const {
  const int64_t examples = input.size(0);
  if (examples == 0) return;
  const int64_t elements = (input.numel() + output.numel()) / examples;
  const int64_t at_once = std::max<int64_t>(
      1, std::max(kPassElements, weight_elements) / std::max<int64_t>(1, elements));
  for (int64_t begin = 0; begin < examples; begin += at_once) {
    use(begin, std::min(at_once, examples - begin));
  }
}

at::Tensor Conv2d::Forward(absl::Span<const at::Tensor> parameters, const at::Tensor& input,
                           SavedInput* saved) const {
  saved->activations = input;
  std::optional<at::Tensor> bias;
  if (options_.bias != kNoBias) bias = parameters[options_.bias];
  const at::Tensor& weight = parameters[options_.weight];
  std::vector<int64_t> sizes = {input.size(0), weight.size(0)};
  for (int64_t side : {0, 1}) {
    sizes.push_back((input.size(2 + side) + 2 * options_.padding[side] - options_.kernel[side]) /
                        options_.stride[side] +
                    1);
  }
  const at::Tensor output = at::empty(sizes, input.options());
  ForEachPass(input, output, weight.numel(), [&](int64_t begin, int64_t count) {
    output.narrow(0, begin, count)
        .copy_(at::conv2d(input.narrow(0, begin, count), weight, bias, options_.stride,
                          options_.padding, /*dilation=*/{1, 1}, options_.groups));
  });
  return output;
}

at::Tensor Conv2d::BackwardInput(absl::Span<const at::Tensor> parameters, const SavedInput& saved,
                                 const at::Tensor& output_grads) const {
  const at::Tensor& weight = parameters[options_.weight];
  const at::Tensor input_grads = at::empty(saved.activations.sizes(), output_grads.options());
  ForEachPass(input_grads, output_grads, weight.numel(), [&](int64_t begin, int64_t count) {
    input_grads.narrow(0, begin, count)
        .copy_(std::get<0>(at::convolution_backward(
            output_grads.narrow(0, begin, count), saved.activations.narrow(0, begin, count), weight,
            /*bias_sizes=*/std::nullopt, options_.stride, options_.padding, /*dilation=*/{1, 1},
            /*transposed=*/false, /*output_padding=*/{0, 0}, options_.groups,
            std::array<bool, 3>{true, false, false})));
  });
  return input_grads;
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
    const at::Tensor inputs = Float32(saved.activations);
    ForEachPass(inputs, grads, sum.numel(), [&](int64_t begin, int64_t count) {
      at::Tensor scaled = grads.narrow(0, begin, count);
      if (coefficients_B.defined()) {
        scaled = scaled.mul(coefficients_B.narrow(0, begin, count).view({-1, 1, 1, 1}));
      }
      at::Tensor(sum).add_(std::get<1>(at::convolution_backward(
          scaled, inputs.narrow(0, begin, count), sum, /*bias_sizes=*/std::nullopt, options_.stride,
          options_.padding, /*dilation=*/{1, 1}, /*transposed=*/false, /*output_padding=*/{0, 0},
          options_.groups, std::array<bool, 3>{false, true, false})));
    });
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
