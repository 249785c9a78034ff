#include "kernels/reference/adamw.h"

#include <algorithm>
#include <cmath>

namespace sotto::kernels::reference {

void UpdateAdamW(const AdamWStep& step, double gradient_sum, AdamWElement& element) {
  const double gradient = gradient_sum / step.gradient_divisor;
  element.m = step.beta1 * element.m + (1 - step.beta1) * gradient;
  element.v = step.beta2 * element.v + (1 - step.beta2) * gradient * gradient;
  const double m_hat = element.m / step.bias_correction1;
  const double v_hat = std::max(element.v / step.bias_correction2 - step.noise_second_moment,
                                step.second_moment_floor);
  element.weight -= step.learning_rate * (m_hat / (std::sqrt(v_hat) + step.epsilon) +
                                          step.weight_decay * element.weight);
}

}  // namespace sotto::kernels::reference
