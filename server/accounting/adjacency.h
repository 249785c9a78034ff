// Which change of a dataset a budget protects against, and what it means for sensitivity.
#ifndef SOTTO_SERVER_ACCOUNTING_ADJACENCY_H_
#define SOTTO_SERVER_ACCOUNTING_ADJACENCY_H_

#include <array>

#include "absl/strings/string_view.h"

namespace sotto::accounting {

// The names in v1::Budget and v1::DatasetFacts.
// A record comes or goes. What data without a budget has.
inline constexpr absl::string_view kAddOrRemoveOne = "add_or_remove_one";
// One record's content is wiped out and its place stays: what it contributes becomes zero.
inline constexpr absl::string_view kZeroOut = "zero_out";
// One record becomes any other.
inline constexpr absl::string_view kReplaceOne = "replace_one";

inline constexpr std::array<absl::string_view, 3> kAdjacencies = {kAddOrRemoveOne, kZeroOut,
                                                                  kReplaceOne};

constexpr bool IsAdjacency(absl::string_view name) {
  for (absl::string_view known : kAdjacencies) {
    if (name == known) return true;
  }
  return false;
}

// Guarantee: between neighbours, and with the same places drawn, the sum of gradients clipped at C
// moves by at most SensitivityFactor C in L2 norm. (A sum of values in [0, 1] moves by at most 1
// under each of them.)
constexpr double SensitivityFactor(absl::string_view adjacency) {
  return adjacency == kReplaceOne ? 2 : 1;
}

}  // namespace sotto::accounting

#endif  // SOTTO_SERVER_ACCOUNTING_ADJACENCY_H_
