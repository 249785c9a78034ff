// A StepGrant for a test: from a gate of its own, which was granted just this step.
#ifndef SOTTO_WORKER_GRANT_TESTING_STEP_GRANTS_H_
#define SOTTO_WORKER_GRANT_TESTING_STEP_GRANTS_H_

#include <cstdint>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "worker/grant/grant.h"
#include "worker/grant/grant_gate.h"

namespace sotto::grant {

inline StepGrant GrantStep(int64_t step, int64_t attempt = 1) {
  GrantGate::Options options;
  options.attempt = attempt;
  options.end_step = step + 1;
  options.clock = &RealClock::Get();
  GrantGate gate(options);
  SOTTO_CHECK_OK(gate.Extend({step, step + 1, attempt}));
  return *gate.Authorize(step);
}

}  // namespace sotto::grant

#endif  // SOTTO_WORKER_GRANT_TESTING_STEP_GRANTS_H_
