#include "tests/models/autograd_images.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <variant>
#include <vector>

#include "ATen/Functions.h"
#include "ATen/TensorOperators.h"

namespace sotto::equivalence {
namespace {

using check::NamedTensors;

at::Tensor Linear(const NamedTensors& p, const std::string& name, const at::Tensor& x) {
  return x.matmul(p.at(name + ".weight").t()) + p.at(name + ".bias");
}

at::Tensor Silu(const at::Tensor& x) { return x / (1 + (-x).exp()); }

at::Tensor Gelu(const at::Tensor& x) { return 0.5 * x * (1 + (x / std::sqrt(2.0)).erf()); }

at::Tensor GeluTanh(const at::Tensor& x) {
  return 0.5 * x * (1 + (std::sqrt(2 / M_PI) * (x + 0.044715 * x.pow(3))).tanh());
}

at::Tensor Relu(const at::Tensor& x) { return at::where(x > 0, x, at::zeros_like(x)); }

at::Tensor Activated(layout::Activation activation, const at::Tensor& x) {
  switch (activation) {
    case layout::Activation::kGeluTanh:
      return GeluTanh(x);
    case layout::Activation::kGelu:
      return Gelu(x);
    case layout::Activation::kRelu:
      return Relu(x);
    case layout::Activation::kSilu:
      return Silu(x);
  }
  return x;
}

// Mean 0 and variance 1 over the last dimension.
at::Tensor Standardised(const at::Tensor& x, double epsilon) {
  const at::Tensor centred = x - x.mean(-1, /*keepdim=*/true);
  return centred / (centred.square().mean(-1, /*keepdim=*/true) + epsilon).sqrt();
}

at::Tensor LayerNorm(const NamedTensors& p, const std::string& name, const at::Tensor& x,
                     double epsilon) {
  return Standardised(x, epsilon) * p.at(name + ".weight") + p.at(name + ".bias");
}

at::Tensor Loss(layout::Loss loss, const at::Tensor& outputs_K, const ImageExample& example) {
  if (loss == layout::Loss::kClassification) return -outputs_K.log_softmax(0)[example.label];
  return (outputs_K - example.targets_K.to(at::kDouble)).square().mean();
}

at::Tensor Attention(const NamedTensors& p, const std::string& name, const at::Tensor& x,
                     int64_t heads) {
  const int64_t tokens = x.size(0);
  const int64_t width = x.size(1);
  const at::Tensor qkv = Linear(p, name + "qkv", x).reshape({tokens, 3, heads, width / heads});
  const at::Tensor q = qkv.select(1, 0).transpose(0, 1);
  const at::Tensor k = qkv.select(1, 1).transpose(0, 1);
  const at::Tensor v = qkv.select(1, 2).transpose(0, 1);
  const at::Tensor scores =
      q.matmul(k.transpose(1, 2)) / std::sqrt(static_cast<double>(width / heads));
  return Linear(p, name + "output",
                scores.softmax(-1).matmul(v).transpose(0, 1).reshape({tokens, width}));
}

// The linear map of patches as a convolution: rows [patches, D].
at::Tensor Patches(const NamedTensors& p, const layout::PatchGrid& grid, const at::Tensor& image) {
  const at::Tensor weight = p.at("patches.weight");
  const at::Tensor kernel =
      weight.reshape({weight.size(0), grid.channels, grid.patch_size, grid.patch_size});
  return at::conv2d(image.unsqueeze(0), kernel, p.at("patches.bias"),
                    {grid.patch_size, grid.patch_size})
      .flatten(2)
      .squeeze(0)
      .t();
}

at::Tensor MlpLoss(const layout::MlpDimensions& d, const NamedTensors& p,
                   const ImageExample& example) {
  at::Tensor x = example.values_CHW.to(at::kDouble).flatten();
  for (size_t i = 0; i < d.hidden_widths.size(); ++i) {
    x = Activated(d.activation, Linear(p, "layers." + std::to_string(i), x));
  }
  return Loss(d.loss, Linear(p, "head", x), example);
}

at::Tensor GroupNorm(const NamedTensors& p, const std::string& name, const at::Tensor& image,
                     int64_t groups) {
  return Standardised(image.reshape({groups, -1}), 1e-5).view_as(image) *
             p.at(name + ".weight").view({1, -1, 1, 1}) +
         p.at(name + ".bias").view({1, -1, 1, 1});
}

at::Tensor CnnLoss(const layout::CnnDimensions& d, const NamedTensors& p,
                   const ImageExample& example) {
  at::Tensor x = example.values_CHW.to(at::kDouble).unsqueeze(0);
  for (size_t i = 0; i < d.stage_channels.size(); ++i) {
    const std::string stage = "stages." + std::to_string(i) + ".";
    const int64_t stride = i == 0 ? 1 : 2;
    const auto step = [&](const char* number, const at::Tensor& input, int64_t by) {
      const at::Tensor y =
          at::conv2d(input, p.at(stage + "conv_" + number + ".weight"), {}, {by, by}, {1, 1});
      return Relu(GroupNorm(p, stage + "norm_" + number, y, d.groups));
    };
    x = step("1", x, stride);
    x = x + step("2", x, 1);
  }
  return Loss(d.loss, Linear(p, "head", x.flatten(2).mean(2).squeeze(0)), example);
}

at::Tensor VitLoss(const layout::VitDimensions& d, const NamedTensors& p,
                   const ImageExample& example) {
  at::Tensor x = at::cat({p.at("class_token.weight"),
                          Patches(p, d.grid, example.values_CHW.to(at::kDouble))}) +
                 p.at("positions.weight");
  for (int64_t i = 0; i < d.layers; ++i) {
    const std::string block = "blocks." + std::to_string(i) + ".";
    x = x + Attention(p, block + "attention.",
                      LayerNorm(p, block + "norm_1", x, d.layer_norm_epsilon), d.heads);
    const at::Tensor hidden =
        Linear(p, block + "mlp.up", LayerNorm(p, block + "norm_2", x, d.layer_norm_epsilon));
    x = x + Linear(p, block + "mlp.down", Gelu(hidden));
  }
  x = LayerNorm(p, "norm", x, d.layer_norm_epsilon);
  return Loss(d.loss, Linear(p, "head", x[0]), example);
}

// What is left of the image after step t of the linear schedule.
double KeptAt(int64_t t, int64_t steps) {
  double kept = 1;
  for (int64_t s = 0; s <= t; ++s) {
    const double share =
        static_cast<double>(s) / static_cast<double>(std::max<int64_t>(1, steps - 1));
    kept *= 1 - std::min(0.999, 1000.0 / static_cast<double>(steps) * (1e-4 + share * 0.0199));
  }
  return kept;
}

at::Tensor Condition(const layout::DitDimensions& d, const NamedTensors& p,
                     const ImageExample& example) {
  std::vector<double> features(d.width);
  for (int64_t j = 0; j < d.width / 2; ++j) {
    const double frequency =
        std::exp(-std::log(1e4) * 2 * static_cast<double>(j) / static_cast<double>(d.width));
    features[j] = std::cos(static_cast<double>(example.time_step) * frequency);
    features[d.width / 2 + j] = std::sin(static_cast<double>(example.time_step) * frequency);
  }
  const at::Tensor hidden = Silu(Linear(p, "time.up", at::tensor(features, at::kDouble)));
  const at::Tensor condition = Linear(p, "time.down", hidden);
  return d.classes == 0 ? condition : condition + p.at("classes.weight")[example.label];
}

at::Tensor DitLoss(const layout::DitDimensions& d, const NamedTensors& p,
                   const ImageExample& example) {
  const double kept = KeptAt(example.time_step, d.time_steps);
  const at::Tensor noise = example.noise_CHW.to(at::kDouble);
  const at::Tensor noised =
      std::sqrt(kept) * example.values_CHW.to(at::kDouble) + std::sqrt(1 - kept) * noise;
  const at::Tensor condition = Silu(Condition(d, p, example));
  at::Tensor x = Patches(p, d.grid, noised) + p.at("positions.weight");
  for (int64_t i = 0; i < d.layers; ++i) {
    const std::string block = "blocks." + std::to_string(i) + ".";
    // Scale, shift and gate of attention, then of the MLP.
    const std::vector<at::Tensor> m = Linear(p, block + "modulation", condition).chunk(6);
    x = x + m[2] * Attention(p, block + "attention.", Standardised(x, 1e-6) * (1 + m[0]) + m[1],
                             d.heads);
    const at::Tensor hidden =
        Linear(p, block + "mlp.up", Standardised(x, 1e-6) * (1 + m[3]) + m[4]);
    x = x + m[5] * Linear(p, block + "mlp.down", GeluTanh(hidden));
  }
  const std::vector<at::Tensor> m = Linear(p, "final.modulation", condition).chunk(2);
  const at::Tensor predicted =
      Linear(p, "final.projection", Standardised(x, 1e-6) * (1 + m[0]) + m[1]);
  const int64_t size = d.grid.patch_size;
  const at::Tensor wanted =
      at::im2col(noise.unsqueeze(0), {size, size}, {1, 1}, {0, 0}, {size, size}).squeeze(0).t();
  return (predicted - wanted).square().mean();
}

}  // namespace

at::Tensor AutogradImageLoss(const layout::ModelDescription& description,
                             const check::NamedTensors& named, const ImageExample& example) {
  if (const auto* mlp = std::get_if<layout::MlpDimensions>(&description.family)) {
    return MlpLoss(*mlp, named, example);
  }
  if (const auto* cnn = std::get_if<layout::CnnDimensions>(&description.family)) {
    return CnnLoss(*cnn, named, example);
  }
  if (const auto* vit = std::get_if<layout::VitDimensions>(&description.family)) {
    return VitLoss(*vit, named, example);
  }
  return DitLoss(std::get<layout::DitDimensions>(description.family), named, example);
}

}  // namespace sotto::equivalence
