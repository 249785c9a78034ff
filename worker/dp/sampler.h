// Which records a step uses.
#ifndef SOTTO_WORKER_DP_SAMPLER_H_
#define SOTTO_WORKER_DP_SAMPLER_H_

#include <cstdint>
#include <vector>

#include "worker/grant/grant.h"

namespace sotto::dp {

// Private: which records were drawn, and how many. Record numbers, ascending, each at most once;
// may be empty.
struct Batch {
  std::vector<int64_t> ids;
};

// Each law of drawing has its own accounting, so the plan names it. Trainer thread only.
class Sampler {
 public:
  virtual ~Sampler() = default;

  // The batch of the granted step: the same on every rank.
  virtual Batch Sample(const grant::StepGrant& grant) const = 0;
};

}  // namespace sotto::dp

#endif  // SOTTO_WORKER_DP_SAMPLER_H_
