#include "worker/nn/group_norm.h"

#include <algorithm>
#include <vector>

#include "ATen/Parallel.h"
#include "ATen/ops/empty.h"
#include "ATen/ops/empty_like.h"
#include "ATen/ops/native_group_norm.h"
#include "worker/nn/example_rows.h"
#include "worker/nn/float32.h"

namespace sotto::nn {
namespace {

std::vector<int> ParametersOf(const GroupNorm::Options& options) {
  std::vector<int> parameters;
  if (!options.gain_frozen) parameters.push_back(options.gain);
  if (!options.bias_frozen) parameters.push_back(options.bias);
  return parameters;
}

// One channel of one example: its input standardised, position by position. ATen's own gradients
// subtract sums of unstandardised inputs: with inputs far from zero they are rounding alone, and
// another rounding in every pass.
struct Channel {
  Channel(const SavedInput& saved, const at::Tensor& inputs, const at::Tensor& grads,
          int64_t groups, int64_t b, int64_t c)
      : positions(inputs.size(2) * inputs.size(3)),
        x(inputs.const_data_ptr<float>() + (b * inputs.size(1) + c) * positions),
        g(grads.const_data_ptr<float>() + (b * inputs.size(1) + c) * positions) {
    const int64_t group = b * groups + c / (inputs.size(1) / groups);
    mean = saved.mean_BT.const_data_ptr<float>()[group];
    scale = saved.reciprocal_std_BT.const_data_ptr<float>()[group];
  }

  float Standardised(int64_t i) const { return (x[i] - mean) * scale; }

  const int64_t positions;
  const float* const x;
  const float* const g;
  float mean;
  float scale;
};

// The input gradient of one group of one example, with x^ the standardised input and u = g gain:
// r (u - mean(u) - x^ mean(u x^)).
void WriteInputGrads(const std::vector<Channel>& channels, const float* gain, float* out) {
  double sum = 0;
  double along = 0;
  int64_t count = 0;
  for (size_t c = 0; c < channels.size(); ++c) {
    const Channel& channel = channels[c];
    for (int64_t i = 0; i < channel.positions; ++i) {
      const double u = static_cast<double>(channel.g[i]) * gain[c];
      sum += u;
      along += u * channel.Standardised(i);
    }
    count += channel.positions;
  }
  sum /= static_cast<double>(count);
  along /= static_cast<double>(count);
  for (size_t c = 0; c < channels.size(); ++c) {
    const Channel& channel = channels[c];
    for (int64_t i = 0; i < channel.positions; ++i) {
      *out++ = static_cast<float>(channel.scale * (static_cast<double>(channel.g[i]) * gain[c] -
                                                   sum - channel.Standardised(i) * along));
    }
  }
}

}  // namespace

GroupNorm::GroupNorm(const Options& options)
    : Layer(ParametersOf(options), options.index), options_(options) {}

at::Tensor GroupNorm::Forward(absl::Span<const at::Tensor> parameters, const at::Tensor& input,
                              SavedInput* saved) const {
  saved->activations = input;
  auto [output, mean, reciprocal_std] =
      at::native_group_norm(Float32(input), Float32(parameters[options_.gain]),
                            Float32(parameters[options_.bias]), input.size(0), input.size(1),
                            input.size(2) * input.size(3), options_.groups, options_.epsilon);
  saved->mean_BT = mean;
  saved->reciprocal_std_BT = reciprocal_std;
  return output.to(input.scalar_type());
}

at::Tensor GroupNorm::BackwardInput(absl::Span<const at::Tensor> parameters,
                                    const SavedInput& saved, const at::Tensor& output_grads) const {
  const at::Tensor inputs = Float32(saved.activations);
  const at::Tensor grads = Float32(output_grads);
  const at::Tensor gains = Float32(parameters[options_.gain]);
  const at::Tensor input_grads = at::empty_like(grads);
  const int64_t channels = inputs.size(1) / options_.groups;
  const int64_t elements = channels * inputs.size(2) * inputs.size(3);
  at::parallel_for(0, inputs.size(0) * options_.groups, 1, [&](int64_t begin, int64_t end) {
    for (int64_t group = begin; group < end; ++group) {
      const int64_t b = group / options_.groups;
      const int64_t first = group % options_.groups * channels;
      std::vector<Channel> members;
      for (int64_t c = first; c < first + channels; ++c) {
        members.emplace_back(saved, inputs, grads, options_.groups, b, c);
      }
      WriteInputGrads(members, gains.const_data_ptr<float>() + first,
                      input_grads.data_ptr<float>() + group * elements);
    }
  });
  return input_grads.to(output_grads.scalar_type());
}

void GroupNorm::WeightGrad(const SavedInput& saved, const at::Tensor& output_grads,
                           const at::Tensor& coefficients_B,
                           absl::Span<const at::Tensor> gradients) const {
  const at::Tensor inputs = Float32(saved.activations);
  const at::Tensor grads = Float32(output_grads);
  const int64_t channels = inputs.size(1);
  const at::Tensor gain_BC = at::empty({inputs.size(0), channels}, grads.options());
  const at::Tensor bias_BC = at::empty({inputs.size(0), channels}, grads.options());
  float* gain = gain_BC.data_ptr<float>();
  float* bias = bias_BC.data_ptr<float>();
  for (int64_t row = 0; row < inputs.size(0) * channels; ++row) {
    const Channel channel(saved, inputs, grads, options_.groups, row / channels, row % channels);
    double gain_sum = 0;
    double bias_sum = 0;
    for (int64_t i = 0; i < channel.positions; ++i) {
      gain_sum += static_cast<double>(channel.Standardised(i)) * channel.g[i];
      bias_sum += channel.g[i];
    }
    gain[row] = static_cast<float>(gain_sum);
    bias[row] = static_cast<float>(bias_sum);
  }
  if (!options_.gain_frozen) FoldRows(gain_BC, coefficients_B, gradients[options_.gain]);
  if (!options_.bias_frozen) FoldRows(bias_BC, coefficients_B, gradients[options_.bias]);
}

std::vector<std::vector<int64_t>> GroupNorm::GradientShapes(const SavedInput& saved,
                                                            const at::Tensor&) const {
  return std::vector<std::vector<int64_t>>(parameters().size(), {saved.activations.size(1)});
}

}  // namespace sotto::nn
