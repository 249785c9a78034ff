#ifndef SOTTO_WORKER_MODELS_DIFFUSION_H_
#define SOTTO_WORKER_MODELS_DIFFUSION_H_

#include <cstdint>
#include <vector>

#include "ATen/core/Tensor.h"

namespace sotto::models {

// The forward process of diffusion (Ho et al. 2020): step t keeps sqrt(a_t) of an image and adds
// sqrt(1 - a_t) of noise, a_t the product of 1 - beta up to t. The betas rise linearly, from 1e-4
// to 0.02 where there are 1000 steps and in proportion to 1000 / steps elsewhere, below 0.999.
class Diffusion {
 public:
  explicit Diffusion(int64_t time_steps);

  // Images and noise [B, C, H, W]; time steps int64 [B], each in [0, time_steps).
  at::Tensor Noised(const at::Tensor& images, const at::Tensor& noise,
                    const at::Tensor& time_steps_B) const;

 private:
  std::vector<double> kept_;  // a_t
};

// Cosines and sines of the time step at width / 2 frequencies from 1 down to 1e-4: [B, 1, width].
at::Tensor TimeFeatures(const at::Tensor& time_steps_B, int64_t width);

}  // namespace sotto::models

#endif  // SOTTO_WORKER_MODELS_DIFFUSION_H_
