// A public number that changes over a job's steps by a rule fixed beforehand: learning rate, noise,
// clip norm.
#ifndef SOTTO_COMMON_BASE_SCHEDULE_H_
#define SOTTO_COMMON_BASE_SCHEDULE_H_

#include <cstdint>

namespace sotto {

// The number's share of its first value, step by step. A value type; thread-safe.
struct Schedule {
  enum class Shape { kConstant, kLinear, kCosine, kStep };

  Shape shape = Shape::kConstant;
  int64_t total_steps = 1;    // linear, cosine: the last of them has final_fraction
  double final_fraction = 0;  // linear, cosine
  int64_t every_steps = 0;    // step: after each so many steps (none when 0) ...
  double factor = 1;          // ... the number is multiplied by this

  // 1 at step 0. Steps beyond the last of linear and cosine have the last one's share.
  double FractionAt(int64_t step) const;
};

}  // namespace sotto

#endif  // SOTTO_COMMON_BASE_SCHEDULE_H_
