// Steps that were committed.
#ifndef SOTTO_SERVER_LEDGER_GRANTED_STEPS_H_
#define SOTTO_SERVER_LEDGER_GRANTED_STEPS_H_

#include <cstdint>

namespace sotto::ledger {

// Steps [first_step, end_step) of an attempt. Empty: the reservation is used up.
struct GrantedSteps {
  int64_t first_step = 0;
  int64_t end_step = 0;  // exclusive
  int64_t steps() const { return end_step - first_step; }
  bool operator==(const GrantedSteps&) const = default;
};

}  // namespace sotto::ledger

#endif  // SOTTO_SERVER_LEDGER_GRANTED_STEPS_H_
