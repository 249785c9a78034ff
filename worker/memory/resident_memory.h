// What the operating system says of this process's memory.
#ifndef SOTTO_WORKER_MEMORY_RESIDENT_MEMORY_H_
#define SOTTO_WORKER_MEMORY_RESIDENT_MEMORY_H_

#include <cstdint>

namespace sotto::memory {

// Largest resident set so far (VmHWM): not getrusage's, which an exec inherits from the parent. 0
// when unknown.
int64_t PeakResidentBytes();

// Resident now (VmRSS). 0 when unknown.
int64_t ResidentBytes();

}  // namespace sotto::memory

#endif  // SOTTO_WORKER_MEMORY_RESIDENT_MEMORY_H_
