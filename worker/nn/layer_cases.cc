#include "worker/nn/layer_cases.h"

#include <cmath>
#include <utility>

#include "worker/nn/conv2d.h"
#include "worker/nn/embedding.h"
#include "worker/nn/group_norm.h"
#include "worker/nn/layer_norm.h"
#include "worker/nn/linear.h"
#include "worker/nn/rms_norm.h"

namespace sotto::nn {
namespace {

template <typename LayerType, typename Options>
std::function<std::unique_ptr<Layer>()> Maker(const Options& options) {
  return [options] { return std::make_unique<LayerType>(options); };
}

torch::Tensor Standardised(const torch::Tensor& x) {
  const torch::Tensor centred = x - x.mean(-1, true);
  return centred / torch::sqrt(centred.pow(2).mean(-1, true) + 1e-5);
}

LayerCase LinearCase(std::string name, const Linear::Options& options, std::vector<int64_t> input,
                     int64_t outputs) {
  const bool output_first = options.weight_layout == Linear::WeightLayout::kOutputInput;
  const int64_t inputs = input.back();
  LayerCase result{.name = std::move(name),
                   .make = Maker<Linear>(options),
                   .parameters = {output_first ? std::vector<int64_t>{outputs, inputs}
                                               : std::vector<int64_t>{inputs, outputs}},
                   .input = std::move(input)};
  if (options.bias != Linear::kNoBias) result.parameters.push_back({outputs});
  result.reference = [output_first](const Tensors& p, const torch::Tensor& x) {
    const torch::Tensor y = x.matmul(output_first ? p[0].t() : p[0]);
    return p.size() > 1 ? y + p[1] : y;
  };
  return result;
}

LayerCase ConvCase(std::string name, const Conv2d::Options& options, std::vector<int64_t> input,
                   int64_t outputs) {
  LayerCase result{
      .name = std::move(name),
      .make = Maker<Conv2d>(options),
      .parameters = {{outputs, input[1] / options.groups, options.kernel[0], options.kernel[1]}},
      .input = std::move(input)};
  if (options.bias != Conv2d::kNoBias) result.parameters.push_back({outputs});
  // Written out: a sum over the kernel's places of shifted, strided images.
  result.reference = [options](const Tensors& p, const torch::Tensor& x) {
    const auto& [kernel, stride, padding] =
        std::tie(options.kernel, options.stride, options.padding);
    const torch::Tensor padded =
        torch::constant_pad_nd(x, {padding[1], padding[1], padding[0], padding[0]});
    const int64_t height = (padded.size(2) - kernel[0]) / stride[0] + 1;
    const int64_t width = (padded.size(3) - kernel[1]) / stride[1] + 1;
    const int64_t own = x.size(1) / options.groups;
    const int64_t outputs = p[0].size(0) / options.groups;
    std::vector<torch::Tensor> groups;
    for (int64_t g = 0; g < options.groups; ++g) {
      torch::Tensor sum;
      for (int64_t i = 0; i < kernel[0]; ++i) {
        for (int64_t j = 0; j < kernel[1]; ++j) {
          const torch::Tensor seen = padded.slice(1, g * own, (g + 1) * own)
                                         .slice(2, i, i + (height - 1) * stride[0] + 1, stride[0])
                                         .slice(3, j, j + (width - 1) * stride[1] + 1, stride[1]);
          const torch::Tensor weight =
              p[0].slice(0, g * outputs, (g + 1) * outputs).select(3, j).select(2, i);
          const torch::Tensor term = torch::einsum("bchw,oc->bohw", {seen, weight});
          sum = sum.defined() ? sum + term : term;
        }
      }
      groups.push_back(sum);
    }
    const torch::Tensor y = torch::cat(groups, 1);
    return p.size() > 1 ? y + p[1].view({1, -1, 1, 1}) : y;
  };
  return result;
}

std::vector<LayerCase> LinearCases() {
  constexpr auto kOutputInput = Linear::WeightLayout::kOutputInput;
  return {
      LinearCase("Linear", {}, {3, 7, 10}, 6),
      LinearCase("LinearBias", {.weight = 0, .bias = 1}, {3, 7, 10}, 6),
      LinearCase("LinearOutputInput", {.weight = 0, .bias = 1, .weight_layout = kOutputInput},
                 {3, 40, 5}, 9),
      LinearCase("LinearOneToken", {.weight = 0, .bias = 1}, {4, 1, 8}, 12),
      LinearCase("LinearOneExample", {.weight = 0, .bias = 1}, {1, 5, 8}, 12),
      LinearCase("LinearFrozenWeight", {.weight = 0, .bias = 1, .weight_frozen = true}, {3, 7, 10},
                 6),
      LinearCase("LinearFrozenBias", {.weight = 0, .bias = 1, .bias_frozen = true}, {3, 7, 10}, 6)};
}

std::vector<LayerCase> ConvCases() {
  return {
      ConvCase("Conv1x1", {}, {3, 4, 5, 5}, 6),
      ConvCase("ConvPadded", {.bias = 1, .kernel = {3, 3}, .padding = {1, 1}}, {2, 3, 6, 5}, 4),
      ConvCase("ConvStridedRectangle",
               {.bias = 1, .kernel = {3, 2}, .stride = {2, 3}, .padding = {2, 1}}, {3, 2, 7, 9}, 5),
      ConvCase("ConvGroups",
               {.bias = 1, .kernel = {3, 3}, .stride = {1, 2}, .padding = {1, 0}, .groups = 2},
               {3, 6, 5, 7}, 4),
      ConvCase("ConvDepthwise", {.kernel = {2, 2}, .groups = 4}, {2, 4, 4, 4}, 8),
      ConvCase("ConvOnePosition", {.bias = 1, .kernel = {4, 4}}, {3, 3, 4, 4}, 5),
      ConvCase("ConvFrozenWeight", {.bias = 1, .kernel = {2, 2}, .weight_frozen = true},
               {2, 3, 4, 4}, 2)};
}

std::vector<LayerCase> NormCases() {
  const auto layer_norm = [](const Tensors& p, const torch::Tensor& x) {
    return Standardised(x) * p[0] + p[1];
  };
  const auto rms_norm = [](const Tensors& p, const torch::Tensor& x) {
    return x / torch::sqrt(x.pow(2).mean(-1, true) + 1e-5) * p[0];
  };
  const auto group_norm = [](const Tensors& p, const torch::Tensor& x) {
    return Standardised(x.reshape({x.size(0), 3, -1})).view_as(x) * p[0].view({1, -1, 1, 1}) +
           p[1].view({1, -1, 1, 1});
  };
  return {
      {"LayerNorm", Maker<LayerNorm>(LayerNorm::Options{}), {{33}, {33}}, {3, 7, 33}, layer_norm},
      {"LayerNormFrozenGain",
       Maker<LayerNorm>(LayerNorm::Options{.gain_frozen = true}),
       {{33}, {33}},
       {3, 7, 33},
       layer_norm},
      {"LayerNormFrozenBias",
       Maker<LayerNorm>(LayerNorm::Options{.bias_frozen = true}),
       {{33}, {33}},
       {3, 7, 33},
       layer_norm},
      {"RmsNorm", Maker<RmsNorm>(RmsNorm::Options{.epsilon = 1e-5}), {{33}}, {3, 7, 33}, rms_norm},
      {"GroupNorm",
       Maker<GroupNorm>(GroupNorm::Options{.groups = 3}),
       {{6}, {6}},
       {3, 6, 4, 5},
       group_norm},
      {"GroupNormFrozenGain",
       Maker<GroupNorm>(GroupNorm::Options{.groups = 3, .gain_frozen = true}),
       {{6}, {6}},
       {3, 6, 4, 5},
       group_norm}};
}

std::vector<LayerCase> EmbeddingCases() {
  const auto rows = [](const Tensors& p, const torch::Tensor& x) {
    return p[0].index_select(0, x.flatten()).view({x.size(0), x.size(1), -1});
  };
  const auto positions = [](const Tensors& p, const torch::Tensor& x) {
    return x + p[0].slice(0, 0, x.size(1));
  };
  return {
      {"Embedding", Maker<Embedding>(EmbeddingOptions{}), {{11, 8}}, {3, 20}, rows, 11},
      {"EmbeddingOneTokenAlways", Maker<Embedding>(EmbeddingOptions{}), {{11, 8}}, {3, 9}, rows, 1},
      {"Positions", Maker<PositionEmbedding>(EmbeddingOptions{}), {{9, 8}}, {3, 6, 8}, positions}};
}

}  // namespace

std::vector<LayerCase> LayerCases() {
  std::vector<LayerCase> cases;
  for (const auto& make : {LinearCases, ConvCases, NormCases, EmbeddingCases}) {
    for (LayerCase& layer_case : make()) cases.push_back(std::move(layer_case));
  }
  return cases;
}

}  // namespace sotto::nn
