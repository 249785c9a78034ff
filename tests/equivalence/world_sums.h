// One step's gradient norms and clipped sum of the all-layers model, by ranks that are processes,
// under every strategy and gradient mode.
#ifndef SOTTO_TESTS_EQUIVALENCE_WORLD_SUMS_H_
#define SOTTO_TESTS_EQUIVALENCE_WORLD_SUMS_H_

#include <string>
#include <vector>

#include "common/layout/flat_layout.h"
#include "common/layout/gradient_mode.h"
#include "common/layout/model_description.h"
#include "common/layout/strategy.h"
#include "tests/equivalence/example_gradient.h"
#include "worker/models/micro_batch.h"

namespace sotto::equivalence {

struct SumCase {
  std::string name;  // "SHARD_GRAD_OP flash_bk deferred"
  layout::Strategy strategy;
  layout::UnitMode mode;
  layout::LayerModes layer_modes;  // empty: `mode` for all
  int shards = 1;                  // of the shard group
};

// Every mode of the table, deferred where it has norms, and the two mixtures of kept gradients that
// `auto` makes of neighbouring layers, under every strategy; HYBRID_SHARD in groups of half of an
// even world.
std::vector<SumCase> CasesOf(int world_size, bool tied_head);

// The all-layers model with parameters that are all away from zero and one.
layout::ModelDescription SumModel(bool tied_head);
UnitTensors SumParameters(const layout::ModelDescription& model);

// The step's micro-batches: of different lengths and sizes; one example is wholly unscored.
std::vector<models::MicroBatch> SumMicroBatches();

// The fp64 oracle's gradients of all examples.
std::vector<ExampleGradient> OracleGradients(const layout::ModelDescription& model);

// The gradient norms of the rank's last micro-batch of the step; 0 for a dummy's.
std::vector<double> LastNorms(const std::vector<ExampleGradient>& examples, int world_size,
                              int rank);

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
