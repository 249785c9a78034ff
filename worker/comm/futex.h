// Waiting on a word of shared memory.
#ifndef SOTTO_WORKER_COMM_FUTEX_H_
#define SOTTO_WORKER_COMM_FUTEX_H_

#include <atomic>
#include <cstdint>

#include "absl/time/time.h"

namespace sotto::comm {

// Sleeps while `word` is `expected`, at most until `deadline`. May return early for no reason:
// callers look again. `word` may lie in memory shared between processes.
void FutexWait(const std::atomic<uint32_t>& word, uint32_t expected, absl::Time deadline);

// Wakes everyone who sleeps on `word`.
void FutexWakeAll(const std::atomic<uint32_t>& word);

}  // namespace sotto::comm

#endif  // SOTTO_WORKER_COMM_FUTEX_H_
