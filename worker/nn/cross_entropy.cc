#include "worker/nn/cross_entropy.h"

#include <algorithm>

#include "ATen/Parallel.h"
#include "kernels/softmax_gradient.h"

namespace sotto::nn {

void CrossEntropyWithGradient(const at::Tensor& logits_BTV, const at::Tensor& tokens_BT,
                              const at::Tensor& weights_BT, const at::Tensor& losses_B) {
  const int64_t tokens = logits_BTV.size(1);
  const int64_t vocabulary = logits_BTV.size(2);
  float* logits = logits_BTV.data_ptr<float>();
  const int64_t* targets = tokens_BT.const_data_ptr<int64_t>();
  const float* weights = weights_BT.const_data_ptr<float>();
  float* losses = losses_B.data_ptr<float>();
  at::parallel_for(0, logits_BTV.size(0), 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      double loss = 0;
      for (int64_t t = 0; t < tokens; ++t) {
        const absl::Span<float> row =
            absl::MakeSpan(logits + (b * tokens + t) * vocabulary, static_cast<size_t>(vocabulary));
        const float weight = t + 1 < tokens ? weights[b * tokens + t + 1] : 0;
        if (weight == 0) {
          std::fill(row.begin(), row.end(), 0.0f);
          continue;
        }
        loss += static_cast<double>(weight) *
                kernels::SoftmaxGradient(row, targets[b * tokens + t + 1], weight);
      }
      losses[b] = static_cast<float>(loss);
    }
  });
}

void LabelCrossEntropyWithGradient(const at::Tensor& logits_B1C, const at::Tensor& labels_B,
                                   const at::Tensor& losses_B) {
  const int64_t classes = logits_B1C.size(2);
  float* logits = logits_B1C.data_ptr<float>();
  const int64_t* labels = labels_B.const_data_ptr<int64_t>();
  float* losses = losses_B.data_ptr<float>();
  for (int64_t b = 0; b < logits_B1C.size(0); ++b) {
    const absl::Span<float> row =
        absl::MakeSpan(logits + b * classes, static_cast<size_t>(classes));
    if (labels[b] < 0) {
      std::fill(row.begin(), row.end(), 0.0f);
      losses[b] = 0;
      continue;
    }
    losses[b] = static_cast<float>(kernels::SoftmaxGradient(row, labels[b], /*weight=*/1));
  }
}

}  // namespace sotto::nn
