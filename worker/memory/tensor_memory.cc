#include "worker/memory/tensor_memory.h"

#include <atomic>
#include <cstddef>
#include <cstring>

#include "c10/core/Allocator.h"
#include "c10/core/CPUAllocator.h"
#include "c10/core/alignment.h"

namespace sotto::memory {
namespace {

// Above the priority of LibTorch's own allocator.
constexpr uint8_t kPriority = 100;

std::atomic<int64_t> live_bytes{0};
std::atomic<int64_t> peak_bytes{0};
std::atomic<int64_t> untaken_peak_bytes{0};

void Raise(std::atomic<int64_t>& peak_bytes, int64_t live) {
  int64_t peak = peak_bytes.load(std::memory_order_relaxed);
  while (live > peak && !peak_bytes.compare_exchange_weak(peak, live, std::memory_order_relaxed)) {
  }
}

void Add(int64_t bytes) {
  const int64_t live = live_bytes.fetch_add(bytes, std::memory_order_relaxed) + bytes;
  Raise(peak_bytes, live);
  Raise(untaken_peak_bytes, live);
}

// In front of a tensor's memory: how many bytes it asked for. As long as the alignment of
// LibTorch's memory, which the tensor then has too.
constexpr size_t kHeaderBytes = c10::gAlignment;

class CountingAllocator final : public c10::Allocator {
 public:
  // `inner` outlives the process's tensors and frees what it is given back by address alone.
  explicit CountingAllocator(c10::Allocator& inner) { inner_ = &inner; }

  c10::DataPtr allocate(size_t bytes) override {
    const c10::Device device(c10::DeviceType::CPU);
    if (bytes == 0) return {nullptr, nullptr, &Free, device};
    auto* const header = static_cast<char*>(inner_->raw_allocate(bytes + kHeaderBytes));
    std::memcpy(header, &bytes, sizeof(bytes));
    Add(static_cast<int64_t>(bytes));
    void* const data = header + kHeaderBytes;
    return {data, data, &Free, device};
  }

  c10::DeleterFnPtr raw_deleter() const override { return &Free; }

  void copy_data(void* destination, const void* source, size_t bytes) const override {
    inner_->copy_data(destination, source, bytes);
  }

 private:
  static void Free(void* data) {
    if (data == nullptr) return;
    char* const header = static_cast<char*>(data) - kHeaderBytes;
    size_t bytes = 0;
    std::memcpy(&bytes, header, sizeof(bytes));
    live_bytes.fetch_sub(static_cast<int64_t>(bytes), std::memory_order_relaxed);
    inner_->raw_deallocate(header);
  }

  static inline c10::Allocator* inner_ = nullptr;
};

}  // namespace

void CountTensors() {
  // Never destroyed: tensors of static lifetime may be freed after it.
  static CountingAllocator* const allocator = [] {
    auto* counting = new CountingAllocator(*c10::GetCPUAllocator());
    c10::SetCPUAllocator(counting, kPriority);
    return counting;
  }();
  static_cast<void>(allocator);
}

int64_t TensorLiveBytes() { return live_bytes.load(std::memory_order_relaxed); }

int64_t TensorPeakBytes() { return peak_bytes.load(std::memory_order_relaxed); }

void ResetTensorPeak() {
  peak_bytes.store(live_bytes.load(std::memory_order_relaxed), std::memory_order_relaxed);
}

int64_t TakeTensorPeakSinceLastTake() {
  const int64_t live = live_bytes.load(std::memory_order_relaxed);
  return untaken_peak_bytes.exchange(live, std::memory_order_relaxed);
}

}  // namespace sotto::memory
