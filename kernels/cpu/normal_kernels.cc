#include "kernels/cpu/normal_kernels.h"

#include <vector>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define SOTTO_HAS_X86_TARGETS 1
#include <immintrin.h>
#endif

namespace sotto::kernels::cpu {
namespace {

constexpr uint64_t kMainStream = 0;
constexpr int kPairsPerGroup = kNormalsPerGroup / 2;
constexpr int kBlocksPerGroup = 3 * kBlocksAtOnce;

// Polynomials through the Chebyshev nodes of t in [0, tan^2(pi/8)^2], [0, (pi/4)^2], highest power
// first. Largest relative errors: -4 atanh(s)/s 3e-16, sin(x)/x 5e-15, cos 2e-16.
constexpr double kLogTerms[] = {-0x1.58d5d4a93822dp-2, -0x1.732320a9c93bp-2,  -0x1.c722cceee92f4p-2,
                                -0x1.249240b87155dp-1, -0x1.999999a435066p-1, -0x1.5555555552d5p+0,
                                -0x1.0000000000001p+2};
constexpr double kMinusTwoLog2 = -0x1.62e42fefa39efp+0;
constexpr double kAngleUnit = 0x1.921fb54442d18p-30;  // pi / 2^31
constexpr double kSineTerms[] = {-0x1.a9507f3711e2dp-26, 0x1.71d7317b8ee33p-19,
                                 -0x1.a019f8a207d3fp-13, 0x1.1111110bde5e3p-7,
                                 -0x1.5555555550efep-3,  0x1.fffffffffffd9p-1};
constexpr double kCosineTerms[] = {0x1.1b8af554d31b3p-29,
                                   -0x1.27df400a3c797p-22,
                                   0x1.a019f7fd878ecp-16,
                                   -0x1.6c16c163c5a72p-10,
                                   0x1.555555554e7ebp-5,
                                   -0x1.fffffffffff79p-2,
                                   0x1p+0};

// One in 2^32 pairs.
__attribute__((noinline, cold)) void ExtendTails(const ChaChaKey& key, uint64_t group,
                                                 const uint32_t* radius_words, double* uniform) {
  for (int p = 0; p < kPairsPerGroup; ++p) {
    if (radius_words[2 * p + 1] != 0) continue;
    uniform[p] = TailUniform(key, kPairsPerGroup * group + p, radius_words[2 * p]) * 0x1p64;
  }
}

#if SOTTO_HAS_X86_TARGETS
#pragma GCC push_options
#pragma GCC target("avx512f,avx512vl,avx512bw,avx512dq,prefer-vector-width=512")
namespace avx512 {
#define SOTTO_LANES 16
#define SOTTO_AT_ONCE 4
#include "kernels/cpu/normal_lanes.inc"
#undef SOTTO_LANES
#undef SOTTO_AT_ONCE
}  // namespace avx512
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx2")
namespace avx2 {
#define SOTTO_LANES 8
#define SOTTO_AT_ONCE 2
#include "kernels/cpu/normal_lanes.inc"
#undef SOTTO_LANES
#undef SOTTO_AT_ONCE
}  // namespace avx2
#pragma GCC pop_options
#endif

namespace baseline {
#define SOTTO_LANES 4
#define SOTTO_AT_ONCE 2
#include "kernels/cpu/normal_lanes.inc"
#undef SOTTO_LANES
#undef SOTTO_AT_ONCE
}  // namespace baseline

std::vector<NormalKernel> FindKernels() {
  std::vector<NormalKernel> kernels;
#if SOTTO_HAS_X86_TARGETS
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq")) {
    kernels.push_back({"AVX-512", avx512::Blocks, avx512::Group, avx512::AddOnGrid});
  }
  if (__builtin_cpu_supports("avx2")) {
    kernels.push_back({"AVX2", avx2::Blocks, avx2::Group, avx2::AddOnGrid});
  }
#endif
  kernels.push_back({"baseline", baseline::Blocks, baseline::Group, baseline::AddOnGrid});
  return kernels;
}

}  // namespace

absl::Span<const NormalKernel> NormalKernels() {
  static const std::vector<NormalKernel>& kernels = *new std::vector<NormalKernel>(FindKernels());
  return kernels;
}

}  // namespace sotto::kernels::cpu
