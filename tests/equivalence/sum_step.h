// The step that WorldSums runs: its model, its micro-batches, every way to run it, and the fp64
// oracle's results.
#ifndef SOTTO_TESTS_EQUIVALENCE_SUM_STEP_H_
#define SOTTO_TESTS_EQUIVALENCE_SUM_STEP_H_

#include <cstdint>
#include <string>
#include <vector>

#include "common/layout/gradient_mode.h"
#include "common/layout/model_description.h"
#include "common/layout/strategy.h"
#include "tests/equivalence/example_gradient.h"
#include "worker/models/micro_batch.h"

namespace sotto::equivalence {

// Of the initial values (layout::FillInitialValues).
inline constexpr uint64_t kSumSeed = 5;

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

// Micro-batches that every rank runs, the last ones perhaps dummies.
int MicroBatchesPerRank(int world_size);

// The rank's `index`th micro-batch: every world_size-th of the step's, then a dummy, whose ids are
// negative and which has no scored token.
models::MicroBatch MicroBatchOf(int world_size, int rank, int index);

// The fp64 oracle's gradients of all examples.
std::vector<ExampleGradient> OracleGradients(const layout::ModelDescription& model);

// The gradient norms of the rank's last micro-batch of the step; 0 for a dummy's.
std::vector<double> LastNorms(const std::vector<ExampleGradient>& examples, int world_size,
                              int rank);

}  // namespace sotto::equivalence

#endif  // SOTTO_TESTS_EQUIVALENCE_SUM_STEP_H_
