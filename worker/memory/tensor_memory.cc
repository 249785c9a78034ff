#include "worker/memory/tensor_memory.h"

#include <atomic>
#include <cstddef>
#include <memory>
#include <utility>

#include "c10/core/Allocator.h"
#include "c10/core/CPUAllocator.h"

namespace sotto::memory {
namespace {

// Above the priority of LibTorch's own allocator.
constexpr uint8_t kPriority = 100;

std::atomic<int64_t> live_bytes{0};
std::atomic<int64_t> peak_bytes{0};

void Add(int64_t bytes) {
  const int64_t live = live_bytes.fetch_add(bytes, std::memory_order_relaxed) + bytes;
  int64_t peak = peak_bytes.load(std::memory_order_relaxed);
  while (live > peak && !peak_bytes.compare_exchange_weak(peak, live, std::memory_order_relaxed)) {
  }
}

// What a counted tensor's memory is freed with.
struct Counted {
  c10::DataPtr memory;
  int64_t bytes;

  static void Delete(void* counted) {
    const std::unique_ptr<Counted> owner(static_cast<Counted*>(counted));
    live_bytes.fetch_sub(owner->bytes, std::memory_order_relaxed);
  }
};

class CountingAllocator final : public c10::Allocator {
 public:
  // `inner` outlives the process's tensors.
  explicit CountingAllocator(c10::Allocator& inner) : inner_(inner) {}

  c10::DataPtr allocate(size_t bytes) override {
    c10::DataPtr memory = inner_.allocate(bytes);
    if (memory.get() == nullptr) return memory;  // Of no element.
    auto counted = std::make_unique<Counted>(std::move(memory), static_cast<int64_t>(bytes));
    Add(counted->bytes);
    void* const data = counted->memory.get();
    const c10::Device device = counted->memory.device();
    return {data, counted.release(), &Counted::Delete, device};
  }

  // None: the context is not the data.
  c10::DeleterFnPtr raw_deleter() const override { return nullptr; }

  void copy_data(void* destination, const void* source, size_t bytes) const override {
    inner_.copy_data(destination, source, bytes);
  }

 private:
  c10::Allocator& inner_;
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

}  // namespace sotto::memory
