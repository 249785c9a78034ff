// How far two runs' parameters are from each other.
#ifndef SOTTO_TESTS_EQUIVALENCE_RUN_COMPARISON_H_
#define SOTTO_TESTS_EQUIVALENCE_RUN_COMPARISON_H_

#include <cstdint>
#include <vector>

namespace sotto::equivalence {

// Elements that differ in any bit; -1 when there are not as many on both sides.
int64_t Differences(const std::vector<float>& a, const std::vector<float>& b);

// The largest |a - b| / max(1, |b|); infinite when there are not as many on both sides, or when one
// is NaN.
double LargestDifference(const std::vector<float>& a, const std::vector<float>& b);

}  // namespace sotto::equivalence

#endif  // SOTTO_TESTS_EQUIVALENCE_RUN_COMPARISON_H_
