// One step's gradient norms and clipped sum of the all-layers model, by ranks that are processes,
// under every strategy and gradient mode.
#ifndef SOTTO_TESTS_EQUIVALENCE_WORLD_SUMS_H_
#define SOTTO_TESTS_EQUIVALENCE_WORLD_SUMS_H_

#include <vector>

#include "tests/equivalence/sum_step.h"

namespace sotto::equivalence {

// Per unit the trainable region's flat sum, without the world's padding.
using FlatSums = std::vector<std::vector<float>>;

// What a case left.
struct SumResult {
  FlatSums sums;
  // By rank, of its last micro-batch; no norms where the mode has none.
  std::vector<std::vector<double>> norms_RB;
};

// Runs all cases in one world (RankTestMain must be main); empty when a rank failed.
std::vector<SumResult> SumInWorld(int world_size, bool tied_head, double clip_norm);

}  // namespace sotto::equivalence

#endif  // SOTTO_TESTS_EQUIVALENCE_WORLD_SUMS_H_
