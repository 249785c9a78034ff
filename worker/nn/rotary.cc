#include "worker/nn/rotary.h"

#include <cmath>

#include "ATen/Parallel.h"
#include "ATen/ops/empty_like.h"
#include "worker/nn/float32.h"

namespace sotto::nn {

RotaryTable::RotaryTable(absl::Span<const float> frequencies, float magnitude, int64_t tokens)
    : tokens_(tokens), half_(static_cast<int64_t>(frequencies.size())) {
  for (int64_t p = 0; p < tokens; ++p) {
    for (float frequency : frequencies) {
      const float angle = static_cast<float>(p) * frequency;
      cosines_.push_back(std::cos(angle) * magnitude);
      sines_.push_back(std::sin(angle) * magnitude);
    }
  }
}

at::Tensor RotaryTable::Apply(const at::Tensor& values, float direction,
                              absl::Span<const int64_t> past_B) const {
  const at::Tensor inputs = Float32(values);
  const at::Tensor outputs = at::empty_like(inputs);
  const int64_t tokens = inputs.size(1);
  const int64_t heads = inputs.size(2);
  const float* in = inputs.const_data_ptr<float>();
  float* out = outputs.data_ptr<float>();
  at::parallel_for(0, inputs.size(0) * tokens, 16, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t position = row % tokens + (past_B.empty() ? 0 : past_B[row / tokens]);
      const float* cosine = cosines_.data() + position * half_;
      const float* sine = sines_.data() + position * half_;
      for (int64_t head = 0; head < heads; ++head) {
        const float* x = in + (row * heads + head) * 2 * half_;
        float* y = out + (row * heads + head) * 2 * half_;
        for (int64_t j = 0; j < half_; ++j) {
          y[j] = x[j] * cosine[j] - direction * x[j + half_] * sine[j];
          y[j + half_] = x[j + half_] * cosine[j] + direction * x[j] * sine[j];
        }
      }
    }
  });
  return outputs.to(values.scalar_type());
}

at::Tensor RotaryTable::Turn(const at::Tensor& values) const { return Apply(values, 1.0f, {}); }

at::Tensor RotaryTable::TurnFrom(const at::Tensor& values, absl::Span<const int64_t> past_B) const {
  return Apply(values, 1.0f, past_B);
}

at::Tensor RotaryTable::TurnBack(const at::Tensor& grads) const { return Apply(grads, -1.0f, {}); }

}  // namespace sotto::nn
