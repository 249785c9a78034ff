// Prints the speed of a float32 matrix product; exit code 1 when it is so slow that a BLAS must be
// missing.
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/rand.h>

#include <algorithm>
#include <chrono>
#include <cstdio>

int main() {
  constexpr int64_t kSize = 1024;
  constexpr int kRepeats = 5;
  // Debian's reference BLAS reaches 1.5 GFLOP/s; one core with vector instructions more than 10.
  constexpr double kSlowestGflops = 8;

  const at::Tensor a = at::rand({kSize, kSize});
  const at::Tensor b = at::rand({kSize, kSize});
  at::mm(a, b);  // Warms up the thread pool.
  double best_seconds = 1e9;
  for (int i = 0; i < kRepeats; ++i) {
    const auto start = std::chrono::steady_clock::now();
    at::mm(a, b);
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    best_seconds = std::min(best_seconds, taken.count());
  }
  const double gflops = 2.0 * kSize * kSize * kSize / best_seconds / 1e9;
  std::printf("BLAS: %.0f GFLOP/s (float32, %ld x %ld, %d threads)\n", gflops, kSize, kSize,
              at::get_num_threads());
  return gflops >= kSlowestGflops ? 0 : 1;
}
