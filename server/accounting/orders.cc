#include "server/accounting/orders.h"

#include <cmath>

namespace sotto::accounting {
namespace {

std::vector<double> MakeDenseOrders() {
  std::vector<double> orders;
  // Quotients of integers, so that e.g. 3.9 is the double nearest to 3.9.
  for (int hundredths = 101; hundredths < 200; ++hundredths) orders.push_back(hundredths / 100.0);
  for (int tenths = 20; tenths <= 110; ++tenths) orders.push_back(tenths / 10.0);
  for (int order = 12; order <= 64; ++order) orders.push_back(order);
  for (int octave = 64; octave < 4096; octave *= 2) {
    for (int eighth = 1; eighth <= 8; ++eighth) orders.push_back(octave + octave / 8 * eighth);
  }
  return orders;
}

}  // namespace

const std::vector<double>& BudgetOrders() {
  static const auto& orders = *new std::vector<double>(kBudgetOrders.begin(), kBudgetOrders.end());
  return orders;
}

const std::vector<double>& DenseOrders() {
  static const auto& orders = *new std::vector<double>(MakeDenseOrders());
  return orders;
}

}  // namespace sotto::accounting
