// Renyi orders at which privacy is accounted.
#ifndef SOTTO_SERVER_ACCOUNTING_ORDERS_H_
#define SOTTO_SERVER_ACCOUNTING_ORDERS_H_

#include <array>
#include <vector>

namespace sotto::accounting {

// Orders of every budget, fixed for ever: charges stored in a ledger have one number per order, in
// this sequence. Neighbours differ by about 1.3 in (order - 1), which costs under 1% of an epsilon,
// while each further order costs log(n) / (order - 1), because they share the budget's delta.
inline constexpr std::array<double, 22> kBudgetOrders = {
    1.5, 1.75, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 10, 12, 16, 20, 28, 40, 64, 128, 256, 512, 1024};

// kBudgetOrders as a vector.
const std::vector<double>& BudgetOrders();

// Ascending, 1.01 to 4096: steps of 0.01 to 2, of 0.1 to 11, integers to 64, then about 8 per
// octave, integers too. Holds the default orders of Opacus and dp_accounting.
const std::vector<double>& DenseOrders();

}  // namespace sotto::accounting

#endif  // SOTTO_SERVER_ACCOUNTING_ORDERS_H_
