// Measures the rates by which planning chooses gradient modes.
#ifndef SOTTO_WORKER_DEVICE_PROFILE_H_
#define SOTTO_WORKER_DEVICE_PROFILE_H_

#include "common/base/clock.h"
#include "common/layout/device_profile.h"

namespace sotto {

// Times the kernels that gradient modes are made of, on ATen's threads (at::set_num_threads comes
// first) and on shapes of a transformer's layers. Takes some tenths of a second and at most
// layout::ProfilingBytes(threads), both for the call alone: what was free before is given back to
// the operating system, and both marks of worker/memory forget it. No other thread holds tensors
// meanwhile. Each rate is the best of a few short runs: what else the machine does can
// only slow them. Every rate is set: the result IsComplete().
layout::DeviceProfile MeasureDeviceProfile(Clock& clock);

}  // namespace sotto

#endif  // SOTTO_WORKER_DEVICE_PROFILE_H_
