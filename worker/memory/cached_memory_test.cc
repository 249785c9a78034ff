#include "worker/memory/cached_memory.h"

#include <algorithm>
#include <string>

#include "ATen/core/Tensor.h"
#include "ATen/ops/full.h"
#include "c10/core/Device.h"
#include "gtest/gtest.h"
#include "worker/memory/resident_memory.h"
#include "worker/memory/testing/freed_blocks.h"

namespace sotto::memory {
namespace {

const c10::Device kCpu(c10::DeviceType::CPU);

TEST(CachedMemoryTest, WhatTheAllocatorKeptIsGivenBack) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "the sanitizer's allocator is not the system's";
#endif
  const FreedBlocks freed;
  // Small texts may stand in a few of the blocks.
  EXPECT_GT(freed.Kept(), freed.Count() / 2);
  EXPECT_GE(ReleaseCachedMemory(kCpu), 0);
  EXPECT_LT(freed.Kept(), freed.Count() / 2);
}

TEST(CachedMemoryTest, WhatIsInUseStays) {
  const at::Tensor tensor = at::full({1 << 20}, 2.5);
  ReleaseCachedMemory(kCpu);
  const float* values = tensor.const_data_ptr<float>();
  EXPECT_EQ(std::count(values, values + tensor.numel(), 2.5f), tensor.numel());
}

TEST(ResidentMemoryTest, PeakGrowsWithWhatIsTouched) {
  const int64_t before = PeakResidentBytes();
  ASSERT_GT(before, 0);
  const std::string block(int64_t{64} << 20, 'x');
  EXPECT_GE(PeakResidentBytes(), before + (int64_t{48} << 20)) << block.size();
  EXPECT_GE(PeakResidentBytes(), ResidentBytes());
}

}  // namespace
}  // namespace sotto::memory
