// Uniform integers in sequence, as a function of a key.
#ifndef SOTTO_WORKER_DP_UNIFORM_DRAWS_H_
#define SOTTO_WORKER_DP_UNIFORM_DRAWS_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "kernels/chacha_normals.h"

namespace sotto::dp {

// The key stream of (key, stream) as 64-bit draws, the first word being the low half. Not
// thread-safe.
class UniformDraws {
 public:
  UniformDraws(const kernels::ChaChaKey& key, uint64_t stream) : key_(key), stream_(stream) {}

  // Uniform over 64 bits.
  uint64_t Next() {
    if (next_ == words_.size()) Refill();
    const uint64_t low = words_[next_];
    const uint64_t high = words_[next_ + 1];
    next_ += 2;
    return high << 32 | low;
  }

  // Uniform below `range`: 64 bits scaled to it, so that an outcome is off its probability by at
  // most range 2^-64 of it.
  uint64_t Below(uint64_t range);

 private:
  void Refill();

  const kernels::ChaChaKey key_;
  const uint64_t stream_;
  uint64_t next_block_ = 0;
  std::array<uint32_t, 1024> words_;
  size_t next_ = words_.size();
};

}  // namespace sotto::dp

#endif  // SOTTO_WORKER_DP_UNIFORM_DRAWS_H_
