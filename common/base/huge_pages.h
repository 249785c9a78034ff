// Large pages for buffers that live long and are streamed through.
#ifndef SOTTO_COMMON_BASE_HUGE_PAGES_H_
#define SOTTO_COMMON_BASE_HUGE_PAGES_H_

#include <cstdint>

namespace sotto {

// Asks the kernel for huge pages (2 MiB on x86-64) for those that lie whole in [data, data +
// bytes): no byte outside becomes resident. To be called before the memory is first written. Best
// effort: without effect on small buffers, and where the kernel has no such pages. Thread-safe.
void PreferHugePages(void* data, int64_t bytes);

}  // namespace sotto

#endif  // SOTTO_COMMON_BASE_HUGE_PAGES_H_
