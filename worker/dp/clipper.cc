#include "worker/dp/clipper.h"

#include <algorithm>
#include <cmath>

#include "ATen/ops/empty.h"

namespace sotto::dp {
namespace {

// min(1, bound / norm), rounded towards zero.
float Factor(double norm, double bound) {
  if (norm <= bound) return 1.0f;
  const double exact = bound / norm;
  const float rounded = static_cast<float>(exact);
  return rounded > exact ? std::nextafter(rounded, 0.0f) : rounded;
}

}  // namespace

double AppliedClipNorm(double clip_norm, int64_t cap) {
  return clip_norm * (1 - std::max(0x1p-14, static_cast<double>(cap) * 0x1p-23));
}

Coefficients ComputeCoefficients(const at::Tensor& norm_sq_B, const at::Tensor& losses_B,
                                 double applied_clip_norm) {
  const int64_t examples = norm_sq_B.size(0);
  Coefficients result{.values_B = at::empty({examples}, losses_B.options().dtype(at::kFloat)),
                      .keep_B = at::empty({examples}, losses_B.options().dtype(at::kBool))};
  const double* norm_sq = norm_sq_B.const_data_ptr<double>();
  const float* losses = losses_B.const_data_ptr<float>();
  float* values = result.values_B.data_ptr<float>();
  bool* keep = result.keep_B.data_ptr<bool>();
  for (int64_t b = 0; b < examples; ++b) {
    keep[b] = std::isfinite(norm_sq[b]) && std::isfinite(losses[b]);
    // A sum of squares that rounding made negative is zero.
    const double norm = std::sqrt(std::max(0.0, norm_sq[b]));
    values[b] = keep[b] ? Factor(norm, applied_clip_norm) : 0.0f;
    result.all_kept = result.all_kept && keep[b];
    if (values[b] < 1) ++result.clipped;
  }
  return result;
}

}  // namespace sotto::dp
