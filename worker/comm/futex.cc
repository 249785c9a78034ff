#include "worker/comm/futex.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>

#include "absl/time/clock.h"

namespace sotto::comm {

static_assert(sizeof(std::atomic<uint32_t>) == sizeof(uint32_t));
static_assert(std::atomic<uint32_t>::is_always_lock_free);

// Not FUTEX_PRIVATE: the word is shared between processes.
void FutexWait(const std::atomic<uint32_t>& word, uint32_t expected, absl::Time deadline) {
  timespec timeout;
  const timespec* timeout_or_null = nullptr;
  if (deadline != absl::InfiniteFuture()) {
    const absl::Duration left = deadline - absl::Now();
    if (left <= absl::ZeroDuration()) return;
    timeout = absl::ToTimespec(left);
    timeout_or_null = &timeout;
  }
  syscall(SYS_futex, &word, FUTEX_WAIT, expected, timeout_or_null, nullptr, 0);
}

void FutexWakeAll(const std::atomic<uint32_t>& word) {
  syscall(SYS_futex, &word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

}  // namespace sotto::comm
