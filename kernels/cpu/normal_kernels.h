// The noise kernels of this processor, one for each instruction set they are compiled for; all give
// the same bits.
#ifndef SOTTO_KERNELS_CPU_NORMAL_KERNELS_H_
#define SOTTO_KERNELS_CPU_NORMAL_KERNELS_H_

#include <cstdint>

#include "absl/types/span.h"
#include "kernels/chacha_normals.h"

namespace sotto::kernels::cpu {

inline constexpr int kBlocksAtOnce = 16;

// Thread-safe.
struct NormalKernel {
  const char* instruction_set;
  // Blocks first_block .. first_block + 15 of a stream: out[16 w + b] is word w of block b.
  void (*blocks)(const ChaChaKey& key, uint64_t stream, uint64_t first_block, uint32_t* out);
  // The kNormalsPerGroup normals of a group.
  void (*group)(const ChaChaKey& key, uint64_t group, double* out);
  // values[i] = round(values[i] + stddev * normals[i]) to a multiple of `grid`, a power of two.
  void (*add_on_grid)(const double* normals, double stddev, double grid, int64_t count,
                      float* values);
};

// Those that this processor runs, the fastest first; never empty.
absl::Span<const NormalKernel> NormalKernels();

}  // namespace sotto::kernels::cpu

#endif  // SOTTO_KERNELS_CPU_NORMAL_KERNELS_H_
