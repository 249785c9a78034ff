#include "kernels/adamw.h"

#include <algorithm>
#include <cmath>

// Compiled for wider vectors too; the bits are the same, since all do the same IEEE operations.
// ThreadSanitizer and old loaders cannot resolve clones: the plain one serves there.
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
#define SOTTO_TARGETS __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define SOTTO_TARGETS
#endif

namespace sotto::kernels {

SOTTO_TARGETS
void UpdateAdamW(const AdamWStep& step, absl::Span<const float> gradient_sums,
                 absl::Span<float> weights, absl::Span<float> m, absl::Span<float> v) {
  const float scale = static_cast<float>(1 / step.gradient_divisor);
  const float beta1 = static_cast<float>(step.beta1);
  const float beta2 = static_cast<float>(step.beta2);
  const float rest1 = static_cast<float>(1 - step.beta1);
  const float rest2 = static_cast<float>(1 - step.beta2);
  const float rate = static_cast<float>(step.learning_rate / step.bias_correction1);
  // sqrt(max(v / c2 - n, floor)) as sqrt(max(v - c2 n, c2 floor)) / sqrt(c2).
  const float inverse_root = static_cast<float>(1 / std::sqrt(step.bias_correction2));
  const float noise = static_cast<float>(step.bias_correction2 * step.noise_second_moment);
  const float floor = static_cast<float>(step.bias_correction2 * step.second_moment_floor);
  const float epsilon = static_cast<float>(step.epsilon);
  const float kept = static_cast<float>(1 - step.learning_rate * step.weight_decay);
  const float* __restrict gradient_data = gradient_sums.data();
  float* __restrict weight_data = weights.data();
  float* __restrict m_data = m.data();
  float* __restrict v_data = v.data();
  for (size_t i = 0; i < weights.size(); ++i) {
    const float gradient = gradient_data[i] * scale;
    const float m_new = beta1 * m_data[i] + rest1 * gradient;
    const float v_new = beta2 * v_data[i] + rest2 * gradient * gradient;
    m_data[i] = m_new;
    v_data[i] = v_new;
    const float second_moment = std::max(v_new - noise, floor);
    const float denominator = std::sqrt(second_moment) * inverse_root + epsilon;
    weight_data[i] = kept * weight_data[i] - rate * m_new / denominator;
  }
}

}  // namespace sotto::kernels
