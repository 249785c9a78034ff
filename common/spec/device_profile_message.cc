#include "common/spec/device_profile_message.h"

namespace sotto::spec {

v1::DeviceProfile ProfileMessage(const layout::DeviceProfile& profile) {
  v1::DeviceProfile message;
  message.set_threads(profile.threads);
  message.set_product_flops(profile.product_flops);
  for (const layout::DeviceProfile::ProductRate& rate : profile.example_products) {
    v1::ProductRate& product = *message.add_example_products();
    product.set_inner(rate.inner);
    product.set_flops(rate.flops);
  }
  message.set_gram_flops(profile.gram_flops);
  message.set_hold_bytes_per_second(profile.hold_bytes);
  message.set_fold_bytes_per_second(profile.fold_bytes);
  message.set_scale_bytes_per_second(profile.scale_bytes);
  message.set_normals_per_second(profile.normals);
  message.set_updates_per_second(profile.updates);
  return message;
}

layout::DeviceProfile ProfileOf(const v1::DeviceProfile& message) {
  layout::DeviceProfile profile;
  profile.threads = message.threads();
  profile.product_flops = message.product_flops();
  for (const v1::ProductRate& rate : message.example_products()) {
    profile.example_products.push_back({rate.inner(), rate.flops()});
  }
  profile.gram_flops = message.gram_flops();
  profile.hold_bytes = message.hold_bytes_per_second();
  profile.fold_bytes = message.fold_bytes_per_second();
  profile.scale_bytes = message.scale_bytes_per_second();
  profile.normals = message.normals_per_second();
  profile.updates = message.updates_per_second();
  return profile;
}

}  // namespace sotto::spec
