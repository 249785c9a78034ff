// Rates of the device a rank runs on. Workers measure them (worker/device_profile.h); the choice of
// gradient modes and predictions of time use them.
#ifndef SOTTO_COMMON_LAYOUT_DEVICE_PROFILE_H_
#define SOTTO_COMMON_LAYOUT_DEVICE_PROFILE_H_

#include <cstdint>
#include <vector>

namespace sotto::layout {

// Of one rank with all its threads. Rates are per second and positive; a flop is a multiplication
// or an addition.
struct DeviceProfile {
  struct ProductRate {
    int64_t inner = 0;  // tokens
    double flops = 0;

    friend bool operator==(const ProductRate&, const ProductRate&) = default;
  };

  int threads = 0;
  double product_flops = 0;                   // fp32 products with a long inner dimension
  std::vector<ProductRate> example_products;  // one example's weight gradient; ascending `inner`
  double gram_flops = 0;                      // upper triangles of both Gram matrices
  double hold_bytes = 0;                      // storing a finished gradient and taking its norm
  double fold_bytes = 0;                      // reading held gradients back into their scaled sum
  double scale_bytes = 0;                     // scaling a factor: bytes read plus written
  double normals = 0;                         // noise added to a shard
  double updates = 0;                         // AdamW, elements

  // Every rate is measured, finite and positive.
  bool IsComplete() const;

  // Flops of products whose inner dimension is `inner` tokens: between measured points linear in
  // 1/inner, which is how a cost per output element and one per flop add up.
  double ProductFlops(int64_t inner) const;

  friend bool operator==(const DeviceProfile&, const DeviceProfile&) = default;
};

// Two cores with AVX2: what planning assumes before any worker has reported.
DeviceProfile TypicalDeviceProfile();

// What measuring a profile occupies at most, in a rank that holds no other tensor yet: tensors and
// a product of each thread.
int64_t ProfilingBytes(int threads);

}  // namespace sotto::layout

#endif  // SOTTO_COMMON_LAYOUT_DEVICE_PROFILE_H_
