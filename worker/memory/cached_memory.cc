#include "worker/memory/cached_memory.h"

#include <malloc.h>

#include <algorithm>

#include "c10/core/Device.h"
#include "worker/memory/resident_memory.h"

namespace sotto::memory {

int64_t ReleaseCachedMemory(const c10::Device& device) {
  const int64_t before = ResidentBytes();
  switch (device.type()) {
    case c10::DeviceType::CPU:
      malloc_trim(/*pad=*/0);
      break;
    default:  // A device with a caching allocator of its own has a case of its own here.
      break;
  }
  return std::max<int64_t>(before - ResidentBytes(), 0);
}

}  // namespace sotto::memory
