#include "common/base/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace sotto {

double Schedule::FractionAt(int64_t step) const {
  const double span = static_cast<double>(std::max<int64_t>(1, total_steps - 1));
  const double progress = std::min(1.0, static_cast<double>(step) / span);
  switch (shape) {
    case Shape::kConstant:
      return 1;
    case Shape::kLinear:
      return 1 - (1 - final_fraction) * progress;
    case Shape::kCosine:
      return final_fraction +
             (1 - final_fraction) * 0.5 * (1 + std::cos(std::numbers::pi * progress));
    case Shape::kStep:
      return every_steps > 0 ? std::pow(factor, static_cast<double>(step / every_steps)) : 1;
  }
  return 1;
}

}  // namespace sotto
