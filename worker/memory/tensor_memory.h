// How many bytes of tensors this process holds, and held at most: what a memory plan is compared
// with. Unlike the resident set it does not depend on the machine, its heap or its load.
#ifndef SOTTO_WORKER_MEMORY_TENSOR_MEMORY_H_
#define SOTTO_WORKER_MEMORY_TENSOR_MEMORY_H_

#include <cstdint>

namespace sotto::memory {

// Puts an allocator that counts in the place of LibTorch's for the CPU; the bytes still come from
// that one, with its alignment. To be called first in main, once: tensors that are older are not
// counted. Idempotent.
void CountTensors();

// Bytes that live tensors asked for, of all threads; 0 before CountTensors. Thread-safe.
int64_t TensorLiveBytes();

// The most that TensorLiveBytes has been since the process started, or since ResetTensorPeak.
// Thread-safe.
int64_t TensorPeakBytes();

// The peak is what lives now.
void ResetTensorPeak();

// The most that TensorLiveBytes has been since the last call (the first: since the process
// started). For one caller; leaves TensorPeakBytes as it is. Thread-safe.
int64_t TakeTensorPeakSinceLastTake();

}  // namespace sotto::memory

#endif  // SOTTO_WORKER_MEMORY_TENSOR_MEMORY_H_
