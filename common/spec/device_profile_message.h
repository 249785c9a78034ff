// Device profiles as messages.
#ifndef SOTTO_COMMON_SPEC_DEVICE_PROFILE_MESSAGE_H_
#define SOTTO_COMMON_SPEC_DEVICE_PROFILE_MESSAGE_H_

#include "common/layout/device_profile.h"
#include "proto/sotto/v1/device_profile.pb.h"

namespace sotto::spec {

v1::DeviceProfile ProfileMessage(const layout::DeviceProfile& profile);
// Unset rates are 0, so that the result is not IsComplete().
layout::DeviceProfile ProfileOf(const v1::DeviceProfile& message);

}  // namespace sotto::spec

#endif  // SOTTO_COMMON_SPEC_DEVICE_PROFILE_MESSAGE_H_
