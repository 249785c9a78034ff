#include "worker/memory/tensor_memory.h"

#include <cstdint>
#include <thread>
#include <vector>

#include "ATen/core/Tensor.h"
#include "ATen/ops/empty.h"
#include "ATen/ops/mm.h"
#include "ATen/ops/ones.h"
#include "c10/core/CPUAllocator.h"
#include "gtest/gtest.h"

namespace sotto::memory {
namespace {

class TensorMemoryTest : public ::testing::Test {
 protected:
  TensorMemoryTest() {
    CountTensors();
    before_ = TensorLiveBytes();
    ResetTensorPeak();
  }

  int64_t Live() const { return TensorLiveBytes() - before_; }
  int64_t Peak() const { return TensorPeakBytes() - before_; }

  int64_t before_ = 0;
};

TEST_F(TensorMemoryTest, CountsWhatATensorAskedForUntilItIsGone) {
  at::Tensor tensor = at::empty({1000, 3});
  EXPECT_EQ(Live(), 12000);
  const at::Tensor view = tensor.narrow(0, 0, 10);
  EXPECT_EQ(Live(), 12000);
  tensor.reset();
  EXPECT_EQ(Live(), 12000);  // The view holds the storage.
}

TEST_F(TensorMemoryTest, ThePeakStaysAndIsResetToWhatLives) {
  const at::Tensor kept = at::empty({100});
  { const at::Tensor gone = at::empty({5000}); }
  EXPECT_EQ(Live(), 400);
  EXPECT_EQ(Peak(), 20400);
  ResetTensorPeak();
  EXPECT_EQ(Peak(), 400);
}

TEST_F(TensorMemoryTest, EachTakeHasThePeakSinceTheOneBefore) {
  TakeTensorPeakSinceLastTake();
  const at::Tensor kept = at::empty({100});
  { const at::Tensor gone = at::empty({5000}); }
  EXPECT_EQ(TakeTensorPeakSinceLastTake() - before_, 20400);
  { const at::Tensor gone = at::empty({50}); }
  EXPECT_EQ(TakeTensorPeakSinceLastTake() - before_, 600);
  EXPECT_EQ(TakeTensorPeakSinceLastTake() - before_, 400);
  EXPECT_EQ(Peak(), 20400);
}

TEST_F(TensorMemoryTest, ResultsOfOperationsAreCounted) {
  const at::Tensor a = at::ones({64, 32});
  const at::Tensor b = at::ones({32, 16});
  const at::Tensor product = at::mm(a, b);
  EXPECT_EQ(Live(), 4 * (64 * 32 + 32 * 16 + 64 * 16));
  EXPECT_EQ(product[63][15].item<float>(), 32);
}

TEST_F(TensorMemoryTest, TensorsKeepTheAlignmentOfTorch) {
  for (int64_t elements : {1, 17, 1000, 100003}) {
    const at::Tensor tensor = at::empty({elements});
    EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.data_ptr()) % 64, 0u) << elements;
  }
}

TEST_F(TensorMemoryTest, AnEmptyTensorCostsNothing) {
  const at::Tensor tensor = at::empty({0, 7});
  EXPECT_EQ(Live(), 0);
}

TEST_F(TensorMemoryTest, AResizedTensorIsCountedOnce) {
  at::Tensor tensor = at::empty({10});
  tensor.resize_({1000});
  EXPECT_EQ(Live(), 4000);
}

TEST_F(TensorMemoryTest, MemoryWithoutATensorIsCountedToo) {
  c10::Allocator& allocator = *c10::GetCPUAllocator();
  void* const memory = allocator.raw_allocate(4096);
  EXPECT_EQ(Live(), 4096);
  allocator.raw_deallocate(memory);
  EXPECT_EQ(Live(), 0);
}

TEST_F(TensorMemoryTest, ThreadsAddUp) {
  constexpr int kThreads = 4;
  std::vector<at::Tensor> kept(kThreads);
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&kept, i] {
      for (int turn = 0; turn < 1000; ++turn) kept[i] = at::empty({100 + turn % 7});
      kept[i] = at::empty({256});
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(Live(), kThreads * 1024);
  EXPECT_GE(Peak(), Live());
  kept.clear();
  EXPECT_EQ(Live(), 0);
}

TEST_F(TensorMemoryTest, CountingTwiceCountsOnce) {
  CountTensors();
  const at::Tensor tensor = at::empty({10});
  EXPECT_EQ(Live(), 40);
}

}  // namespace
}  // namespace sotto::memory
