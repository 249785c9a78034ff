#include "worker/models/diffusion.h"

#include <algorithm>
#include <cmath>

#include "ATen/ops/empty.h"
#include "ATen/ops/empty_like.h"

namespace sotto::models {

Diffusion::Diffusion(int64_t time_steps) {
  const double scale = 1000.0 / static_cast<double>(time_steps);
  const double last = static_cast<double>(std::max<int64_t>(1, time_steps - 1));
  double kept = 1;
  for (int64_t t = 0; t < time_steps; ++t) {
    const double beta = scale * (1e-4 + (0.02 - 1e-4) * static_cast<double>(t) / last);
    kept *= 1 - std::min(beta, 0.999);
    kept_.push_back(kept);
  }
}

at::Tensor Diffusion::Noised(const at::Tensor& images, const at::Tensor& noise,
                             const at::Tensor& time_steps_B) const {
  const at::Tensor noised = at::empty_like(images);
  for (int64_t b = 0; b < images.size(0); ++b) {
    const double kept = kept_.at(time_steps_B.const_data_ptr<int64_t>()[b]);
    noised[b].copy_(images[b].mul(std::sqrt(kept)).add(noise[b], std::sqrt(1 - kept)));
  }
  return noised;
}

at::Tensor TimeFeatures(const at::Tensor& time_steps_B, int64_t width) {
  const int64_t half = width / 2;
  const at::Tensor features = at::empty({time_steps_B.size(0), 1, width});
  float* values = features.data_ptr<float>();
  for (int64_t b = 0; b < time_steps_B.size(0); ++b) {
    const auto step = static_cast<double>(time_steps_B.const_data_ptr<int64_t>()[b]);
    for (int64_t j = 0; j < half; ++j) {
      const double angle =
          step * std::pow(1e-4, static_cast<double>(j) / static_cast<double>(half));
      values[b * width + j] = static_cast<float>(std::cos(angle));
      values[b * width + half + j] = static_cast<float>(std::sin(angle));
    }
  }
  return features;
}

}  // namespace sotto::models
