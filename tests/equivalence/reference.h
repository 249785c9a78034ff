// What a gradient mode's run must equal: the same step in float64, one example at a time.
#ifndef SOTTO_TESTS_EQUIVALENCE_REFERENCE_H_
#define SOTTO_TESTS_EQUIVALENCE_REFERENCE_H_

#include <vector>

#include "ATen/core/Tensor.h"
#include "tests/equivalence/example_gradient.h"
#include "tests/equivalence/mode_run.h"
#include "worker/models/micro_batch.h"

namespace sotto::equivalence {

// A model, a micro-batch, and each example's loss and gradient.
struct Reference {
  TestModel model;
  models::MicroBatch batch;
  std::vector<ExampleGradient> examples;  // of the batch, in order, without a last dummy

  // Clips the larger half of the examples, a single one too. 1 where they have no gradient.
  double ClipNorm() const;
};

// Each loss L within 1e-5 (1 + L).
void ExpectLosses(const Reference& reference, const at::Tensor& losses_B);

// Each norm n of the run's last micro-batch within 1e-5 n and `of_largest` of the largest.
void ExpectNorms(const Reference& reference, const ModeRun& run, double of_largest = 1e-7);

// The sum over examples that are scaled by `factor`, or clipped to `clip_norm` (infinite: not
// clipped): each tensor within 1e-5 of itself and 1e-6 of the whole; frozen parameters have none.
void ExpectSums(const Reference& reference, const UnitTensors& sums, FactorOf factor);
void ExpectSums(const Reference& reference, const UnitTensors& sums, double clip_norm);

}  // namespace sotto::equivalence

#endif  // SOTTO_TESTS_EQUIVALENCE_REFERENCE_H_
