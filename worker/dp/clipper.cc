#include "worker/dp/clipper.h"

#include <algorithm>
#include <cmath>

#include "ATen/ops/empty.h"
#include "absl/types/span.h"

namespace sotto::dp {

MicroBatchCoefficients ComputeCoefficients(const at::Tensor& norm_sq_GB, const at::Tensor& losses_B,
                                           const ClippingRule& rule) {
  const int64_t groups = norm_sq_GB.size(0);
  const int64_t examples = norm_sq_GB.size(1);
  const at::Tensor values_GB = at::empty({groups, examples}, losses_B.options().dtype(at::kFloat));
  const at::Tensor keep_B = at::empty({examples}, losses_B.options().dtype(at::kBool));
  const double* norm_sq = norm_sq_GB.const_data_ptr<double>();
  const float* losses = losses_B.const_data_ptr<float>();
  float* values = values_GB.data_ptr<float>();
  bool* keep = keep_B.data_ptr<bool>();
  bool all_kept = true;
  MicroBatchCoefficients result;
  std::vector<double> own_norm_sq(static_cast<size_t>(groups));
  std::vector<float> factors(static_cast<size_t>(groups));
  for (int64_t b = 0; b < examples; ++b) {
    keep[b] = std::isfinite(losses[b]);
    for (int64_t g = 0; g < groups; ++g) {
      const double value = norm_sq[g * examples + b];
      keep[b] = keep[b] && std::isfinite(value);
      own_norm_sq[g] = std::max(0.0, value);
    }
    if (keep[b]) {
      rule.Factors(own_norm_sq, absl::MakeSpan(factors));
    } else {
      std::fill(factors.begin(), factors.end(), 0.0f);
    }
    for (int64_t g = 0; g < groups; ++g) values[g * examples + b] = factors[g];
    all_kept = all_kept && keep[b];
    result.clipped_B.push_back(
        std::any_of(factors.begin(), factors.end(), [](float factor) { return factor < 1; }));
  }
  for (int64_t g = 0; g < groups; ++g) {
    result.groups.push_back({.values_B = values_GB[g], .keep_B = keep_B, .all_kept = all_kept});
  }
  return result;
}

}  // namespace sotto::dp
