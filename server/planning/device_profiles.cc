#include "server/planning/device_profiles.h"

#include <cstdlib>

namespace sotto::planning {
namespace {

layout::DeviceProfile Scaled(layout::DeviceProfile profile, int threads) {
  const double share = static_cast<double>(threads) / profile.threads;
  profile.threads = threads;
  for (double* rate :
       {&profile.product_flops, &profile.gram_flops, &profile.hold_bytes, &profile.fold_bytes,
        &profile.scale_bytes, &profile.normals, &profile.updates}) {
    *rate *= share;
  }
  for (layout::DeviceProfile::ProductRate& rate : profile.example_products) rate.flops *= share;
  return profile;
}

}  // namespace

ChosenProfile ProfileFor(const std::vector<layout::DeviceProfile>& measured, int threads) {
  const layout::DeviceProfile* nearest = nullptr;
  for (const layout::DeviceProfile& profile : measured) {
    if (!profile.IsComplete() || profile.threads < 1) continue;
    if (nearest == nullptr ||
        std::abs(profile.threads - threads) < std::abs(nearest->threads - threads)) {
      nearest = &profile;
    }
  }
  if (nearest == nullptr) return {Scaled(layout::TypicalDeviceProfile(), threads), false};
  if (nearest->threads == threads) return {*nearest, true};
  return {Scaled(*nearest, threads), false};
}

}  // namespace sotto::planning
