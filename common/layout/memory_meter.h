// Counts what a simulated step holds, as an allocator would count what a real one does.
#ifndef SOTTO_COMMON_LAYOUT_MEMORY_METER_H_
#define SOTTO_COMMON_LAYOUT_MEMORY_METER_H_

#include <array>
#include <memory>
#include <numeric>

namespace sotto::layout {

// What a tensor of a step is for.
enum class TensorUse { kActivations, kHeld, kWorkspace };

// Externally synchronised.
class MemoryMeter {
 public:
  using ByUse = std::array<double, 3>;  // fp32 values, by TensorUse

  class Block {
   public:
    Block(MemoryMeter& meter, double elements, TensorUse use)
        : meter_(meter), elements_(elements), use_(use) {
      meter_.Add(use_, elements_);
    }
    ~Block() { meter_.Remove(use_, elements_); }
    Block(const Block&) = delete;
    Block& operator=(const Block&) = delete;

    double elements() const { return elements_; }

    // The same memory, for another purpose.
    void SetUse(TensorUse use) {
      meter_.Remove(use_, elements_);
      use_ = use;
      meter_.Add(use_, elements_);
    }

   private:
    MemoryMeter& meter_;
    const double elements_;
    TensorUse use_;
  };

  // Tensors share their memory: it is gone with its last holder. The meter outlives it.
  using Tensor = std::shared_ptr<Block>;

  Tensor Make(double elements, TensorUse use) {
    return std::make_shared<Block>(*this, elements, use);
  }

  // What lived when most did.
  const ByUse& peak() const { return peak_; }

 private:
  static double Sum(const ByUse& elements) {
    return std::accumulate(elements.begin(), elements.end(), 0.0);
  }

  void Add(TensorUse use, double elements) {
    live_[static_cast<size_t>(use)] += elements;
    if (Sum(live_) > Sum(peak_)) peak_ = live_;
  }

  void Remove(TensorUse use, double elements) { live_[static_cast<size_t>(use)] -= elements; }

  ByUse live_ = {};
  ByUse peak_ = {};
};

}  // namespace sotto::layout

#endif  // SOTTO_COMMON_LAYOUT_MEMORY_METER_H_
