// What allocators keep of memory that nothing uses any more.
#ifndef SOTTO_WORKER_MEMORY_CACHED_MEMORY_H_
#define SOTTO_WORKER_MEMORY_CACHED_MEMORY_H_

#include <cstdint>

namespace c10 {
struct Device;
}  // namespace c10

namespace sotto::memory {

// Gives freed memory that the allocators of the device's tensors keep back to the system, that of
// all threads; returns by how many bytes the process's resident set fell, 0 where it did not.
// Changes nothing that a program can compute. What is asked for again costs page faults; while it
// runs, other threads wait when they allocate. Thread-safe.
int64_t ReleaseCachedMemory(const c10::Device& device);

}  // namespace sotto::memory

#endif  // SOTTO_WORKER_MEMORY_CACHED_MEMORY_H_
