// The numbers of a refused admission, as a typed payload of its status.
#ifndef SOTTO_SERVER_LEDGER_BUDGET_REFUSAL_H_
#define SOTTO_SERVER_LEDGER_BUDGET_REFUSAL_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"

namespace sotto::ledger {

// Epsilons are at the budget's delta, by the charges' own arithmetic (RDP). They do not add up:
// composition is sublinear. `largest_steps` is what decides.
struct BudgetRefusal {
  std::string dataset;
  double budget_epsilon = 0;
  double budget_delta = 0;
  double committed_epsilon = 0;  // of what was granted
  double reserved_epsilon = 0;   // of what was granted or reserved
  double requested_epsilon = 0;  // of this request alone
  double total_epsilon = 0;      // of all three together
  int64_t requested_steps = 0;
  int64_t largest_steps = 0;  // that would be admitted now; 0: none
};

// RESOURCE_EXHAUSTED with a message that states the numbers, and the numbers themselves as payload.
absl::Status BudgetRefusedError(const BudgetRefusal& refusal);

// The payload, when `status` is such an error.
std::optional<BudgetRefusal> GetBudgetRefusal(const absl::Status& status);

}  // namespace sotto::ledger

#endif  // SOTTO_SERVER_LEDGER_BUDGET_REFUSAL_H_
