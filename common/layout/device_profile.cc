#include "common/layout/device_profile.h"

#include <algorithm>
#include <cmath>

namespace sotto::layout {
namespace {

bool IsRate(double value) { return std::isfinite(value) && value > 0; }

// Seconds of a flop, between two measured points: linear in 1 / inner.
double SecondsBetween(const DeviceProfile::ProductRate& low, const DeviceProfile::ProductRate& high,
                      int64_t inner) {
  const double reciprocal_low = 1.0 / static_cast<double>(low.inner);
  const double reciprocal_high = 1.0 / static_cast<double>(high.inner);
  const double share =
      (reciprocal_low - 1.0 / static_cast<double>(inner)) / (reciprocal_low - reciprocal_high);
  return (1 - share) / low.flops + share / high.flops;
}

}  // namespace

bool DeviceProfile::IsComplete() const {
  if (threads < 1 || example_products.empty()) return false;
  for (size_t i = 0; i < example_products.size(); ++i) {
    if (example_products[i].inner < 1 || !IsRate(example_products[i].flops)) return false;
    if (i > 0 && example_products[i].inner <= example_products[i - 1].inner) return false;
  }
  for (double rate :
       {product_flops, gram_flops, hold_bytes, fold_bytes, scale_bytes, normals, updates}) {
    if (!IsRate(rate)) return false;
  }
  return true;
}

double DeviceProfile::ProductFlops(int64_t inner) const {
  const auto above =
      std::find_if(example_products.begin(), example_products.end(),
                   [inner](const ProductRate& point) { return point.inner >= inner; });
  if (above == example_products.end()) return example_products.back().flops;
  if (above->inner == inner) return above->flops;
  if (above == example_products.begin()) {
    // Below the first point the cost per output element rules.
    return above->flops * static_cast<double>(inner) / static_cast<double>(above->inner);
  }
  return 1 / SecondsBetween(*(above - 1), *above, inner);
}

DeviceProfile TypicalDeviceProfile() {
  return {.threads = 2,
          .product_flops = 140e9,
          .example_products = {{16, 60e9}, {64, 110e9}, {128, 125e9}, {256, 132e9}, {512, 136e9}},
          .gram_flops = 90e9,
          .hold_bytes = 20e9,
          .fold_bytes = 20e9,
          .scale_bytes = 20e9,
          .normals = 0.5e9,
          .updates = 0.8e9};
}

int64_t ProfilingBytes(int threads) {
  constexpr int64_t kMebibyte = int64_t{1} << 20;
  // Streams of 32 MiB and their results of 11; or operands of 11 and, per thread, a product or the
  // two factors of a norm with its tiles.
  constexpr int64_t kStreams = 44 * kMebibyte;
  constexpr int64_t kOperands = 11 * kMebibyte;
  constexpr int64_t kPerThread = 2 * kMebibyte;
  return std::max(kStreams, kOperands + threads * kPerThread);
}

}  // namespace sotto::layout
