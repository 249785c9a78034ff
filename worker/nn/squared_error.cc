#include "worker/nn/squared_error.h"

#include <algorithm>

#include "common/base/log.h"

namespace sotto::nn {

void SquaredErrorWithGradient(const at::Tensor& outputs, const at::Tensor& targets,
                              absl::Span<const int64_t> example_ids, const at::Tensor& losses_B) {
  SOTTO_CHECK(outputs.numel() == targets.numel() && outputs.size(0) == losses_B.size(0));
  const int64_t examples = outputs.size(0);
  const int64_t values = examples == 0 ? 0 : outputs.numel() / examples;
  float* output = outputs.data_ptr<float>();
  const float* target = targets.const_data_ptr<float>();
  float* losses = losses_B.data_ptr<float>();
  for (int64_t b = 0; b < examples; ++b, output += values, target += values) {
    if (example_ids[b] < 0) {
      std::fill(output, output + values, 0.0f);
      losses[b] = 0;
      continue;
    }
    double sum = 0;
    for (int64_t i = 0; i < values; ++i) {
      const float difference = output[i] - target[i];
      sum += static_cast<double>(difference) * difference;
      output[i] = 2 * difference / static_cast<float>(values);
    }
    losses[b] = static_cast<float>(sum / static_cast<double>(values));
  }
}

}  // namespace sotto::nn
