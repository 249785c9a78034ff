#include "worker/device_profile.h"

#include <algorithm>
#include <cstdint>

#include "ATen/Parallel.h"
#include "common/base/clock.h"
#include "common/layout/device_profile.h"
#include "gtest/gtest.h"
#include "worker/memory/tensor_memory.h"

namespace sotto {
namespace {

TEST(DeviceProfileTest, EveryRateIsMeasured) {
  at::set_num_threads(1);
  const layout::DeviceProfile profile = MeasureDeviceProfile(RealClock::Get());
  EXPECT_TRUE(profile.IsComplete());
  EXPECT_EQ(profile.threads, 1);
  // Long products are the ceiling of short ones, up to a busy machine's noise.
  EXPECT_LT(profile.example_products.front().flops, 4 * profile.product_flops);
}

// A clock that looks at the tensors' mark whenever a run has ended.
class WatchingClock : public Clock {
 public:
  absl::Time Now() const override {
    peak_bytes_ = std::max(peak_bytes_, memory::TensorPeakBytes());
    return RealClock::Get().Now();
  }
  bool AwaitUntil(Mutex& mutex, const absl::Condition& condition, absl::Time deadline) override {
    return RealClock::Get().AwaitUntil(mutex, condition, deadline);
  }

  int64_t peak_bytes() const { return peak_bytes_; }

 private:
  mutable int64_t peak_bytes_ = 0;
};

TEST(DeviceProfileTest, TakesWhatPlansCountAndForgetsIt) {
  memory::CountTensors();
  for (const int threads : {1, 2, 24}) {
    SCOPED_TRACE(threads);
    at::set_num_threads(threads);
    const int64_t before = memory::TensorLiveBytes();
    memory::ResetTensorPeak();
    WatchingClock clock;
    MeasureDeviceProfile(clock);
    EXPECT_LE(clock.peak_bytes() - before, layout::ProfilingBytes(threads));
    if (threads <= 2) {
      EXPECT_GE(clock.peak_bytes() - before, 0.9 * layout::ProfilingBytes(threads));
    }
    EXPECT_EQ(memory::TensorLiveBytes(), before);
    EXPECT_EQ(memory::TensorPeakBytes(), before);
    EXPECT_EQ(memory::TakeTensorPeakSinceLastTake(), before);
  }
}

}  // namespace
}  // namespace sotto
