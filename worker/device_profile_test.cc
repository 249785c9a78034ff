#include "worker/device_profile.h"

#include "ATen/Parallel.h"
#include "common/base/clock.h"
#include "gtest/gtest.h"

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

}  // namespace
}  // namespace sotto
