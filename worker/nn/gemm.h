#ifndef SOTTO_WORKER_NN_GEMM_H_
#define SOTTO_WORKER_NN_GEMM_H_

#include <cstdint>

// The BLAS inside libtorch_cpu, column-major. ATen's own wrapper of it is not exported.
extern "C" void sgemm_(const char* transpose_a, const char* transpose_b, const int* m, const int* n,
                       const int* k, const float* alpha, const float* a, const int* lda,
                       const float* b, const int* ldb, const float* beta, float* c, const int* ldc);

namespace sotto::nn {

// Column-major c[m, n] = op(a)[m, k] op(b)[k, n]; op transposes for 'T'. On the CPU, with the
// threads of the BLAS unless called from a parallel region.
inline void Gemm(char transpose_a, char transpose_b, int64_t m, int64_t n, int64_t k,
                 const float* a, int64_t a_stride, const float* b, int64_t b_stride, float* c,
                 int64_t c_stride) {
  const int sizes[] = {static_cast<int>(m), static_cast<int>(n), static_cast<int>(k)};
  const int strides[] = {static_cast<int>(a_stride), static_cast<int>(b_stride),
                         static_cast<int>(c_stride)};
  const float one = 1, zero = 0;
  sgemm_(&transpose_a, &transpose_b, &sizes[0], &sizes[1], &sizes[2], &one, a, &strides[0], b,
         &strides[1], &zero, c, &strides[2]);
}

}  // namespace sotto::nn

#endif  // SOTTO_WORKER_NN_GEMM_H_
