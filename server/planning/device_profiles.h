// Which of the measured device profiles a job's predictions rest on.
#ifndef SOTTO_SERVER_PLANNING_DEVICE_PROFILES_H_
#define SOTTO_SERVER_PLANNING_DEVICE_PROFILES_H_

#include <vector>

#include "common/layout/device_profile.h"

namespace sotto::planning {

struct ChosenProfile {
  layout::DeviceProfile profile;
  bool measured = false;  // with the rank's number of threads
};

// The one measured with as many threads; else the nearest number's, with rates in proportion to
// threads; without any a typical host's, in proportion too.
ChosenProfile ProfileFor(const std::vector<layout::DeviceProfile>& measured, int threads);

}  // namespace sotto::planning

#endif  // SOTTO_SERVER_PLANNING_DEVICE_PROFILES_H_
