// Permission to run steps, as the coordinator's ledger gave it, and the token that proves it for
// one step.
#ifndef SOTTO_WORKER_GRANT_GRANT_H_
#define SOTTO_WORKER_GRANT_GRANT_H_

#include <cstdint>

namespace sotto::grant {

// Steps [first_step, end_step) of one attempt. The ledger committed their cost before it was sent.
struct Grant {
  int64_t first_step = 0;
  int64_t end_step = 0;
  int64_t attempt = 0;

  friend bool operator==(const Grant&, const Grant&) = default;
};

// Proof that one step was granted. Move-only; only a GrantGate makes one, and only once for each
// step. The sampler and the mechanism ask for it, so neither runs without a grant.
class StepGrant {
 public:
  StepGrant(StepGrant&&) noexcept = default;
  StepGrant& operator=(StepGrant&&) noexcept = default;
  StepGrant(const StepGrant&) = delete;
  StepGrant& operator=(const StepGrant&) = delete;

  int64_t step() const { return step_; }
  int64_t attempt() const { return attempt_; }

 private:
  friend class GrantGate;
  StepGrant(int64_t step, int64_t attempt) : step_(step), attempt_(attempt) {}

  int64_t step_;
  int64_t attempt_;
};

}  // namespace sotto::grant

#endif  // SOTTO_WORKER_GRANT_GRANT_H_
