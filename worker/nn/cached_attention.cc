#include "worker/nn/cached_attention.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "ATen/Parallel.h"
#include "ATen/ops/empty_like.h"
#include "ATen/ops/zeros.h"
#include "common/base/log.h"

namespace sotto::nn {
namespace {

// Scores of one query, and the output of one head. Rows of keys and values are `stride` apart.
void Attend(const float* query, const float* keys, const float* values, int64_t tokens,
            int64_t stride, int64_t width, float scale, std::vector<float>& scores, float* output) {
  scores.resize(tokens);
  float largest = -INFINITY;
  for (int64_t p = 0; p < tokens; ++p) {
    float score = 0;
    for (int64_t j = 0; j < width; ++j) score += query[j] * keys[p * stride + j];
    scores[p] = score * scale;
    largest = std::max(largest, scores[p]);
  }
  float sum = 0;
  for (float& score : scores) sum += score = std::exp(score - largest);
  std::fill_n(output, width, 0.0f);
  for (int64_t p = 0; p < tokens; ++p) {
    const float weight = scores[p] / sum;
    for (int64_t j = 0; j < width; ++j) output[j] += weight * values[p * stride + j];
  }
}

}  // namespace

void AppendToCache(const at::Tensor& keys, const at::Tensor& values,
                   absl::Span<const int64_t> past_B, int64_t capacity, KeyValueCache& cache) {
  const int64_t tokens = keys.size(1);
  if (!cache.keys.defined()) {
    cache.keys = at::zeros({keys.size(0), capacity, keys.size(2)}, keys.options());
    cache.values = at::zeros(cache.keys.sizes(), keys.options());
  }
  for (int64_t b = 0; b < keys.size(0); ++b) {
    cache.keys.select(0, b).narrow(0, past_B[b], tokens).copy_(keys.select(0, b));
    cache.values.select(0, b).narrow(0, past_B[b], tokens).copy_(values.select(0, b));
  }
}

at::Tensor AttendToCache(const at::Tensor& queries, absl::Span<const int64_t> past_B,
                         const KeyValueCache& cache, const CachedAttentionOptions& options) {
  SOTTO_CHECK(queries.is_contiguous() && cache.keys.is_contiguous());
  const int64_t tokens = queries.size(1);
  const int64_t width = options.head_width;
  const int64_t row = options.key_value_heads * width;
  const int64_t shared = options.heads / options.key_value_heads;
  const at::Tensor outputs = at::empty_like(queries);
  const float* query = queries.const_data_ptr<float>();
  const float* keys = cache.keys.const_data_ptr<float>();
  const float* values = cache.values.const_data_ptr<float>();
  float* output = outputs.data_ptr<float>();
  at::parallel_for(0, queries.size(0) * tokens, 1, [&](int64_t begin, int64_t end) {
    std::vector<float> scores;
    for (int64_t place = begin; place < end; ++place) {
      const int64_t text = place / tokens;
      const int64_t seen = past_B[text] + place % tokens + 1;
      for (int64_t head = 0; head < options.heads; ++head) {
        const int64_t cached = text * cache.keys.size(1) * row + head / shared * width;
        const int64_t own = (place * options.heads + head) * width;
        Attend(query + own, keys + cached, values + cached, seen, row, width,
               static_cast<float>(options.scale), scores, output + own);
      }
    }
  });
  return outputs;
}

}  // namespace sotto::nn
