// From a drawn batch to the sum of its clipped gradients.
#ifndef SOTTO_WORKER_TRAIN_GRADIENT_SUMMER_H_
#define SOTTO_WORKER_TRAIN_GRADIENT_SUMMER_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/data/example_draws.h"
#include "worker/data/record_loader.h"
#include "worker/dp/clipped_sum.h"
#include "worker/dp/gradient_pass.h"
#include "worker/dp/sampler.h"
#include "worker/fsdp/sharded_parameters.h"
#include "worker/train/executor.h"

namespace sotto::train {

// Trainer thread only. The one place where clipping (dp) and sharding (fsdp) meet, and where a
// ClippedSum is made.
class GradientSummer {
 public:
  struct Options {
    std::vector<int32_t> lengths;               // public padded lengths, ascending
    int32_t micro_batch_size = 1;               // examples
    int64_t minimum_micro_batches = 0;          // over all ranks; pad_to_cap
    const data::ExampleDraws* draws = nullptr;  // of a diffusion; borrowed
  };

  // Borrows all but the options. The executor runs the gradient pass.
  GradientSummer(Options options, const data::RecordLoader& loader, dp::GradientPass& gradient_pass,
                 Executor& executor, fsdp::ShardedParameters& parameters);

  // Micro-batches are a function of the batch alone; micro-batch j runs on rank j mod W and all
  // ranks run the same number. The sum lives in the gradient shards until the next call.
  // Collective: all ranks, the same batch, clip norm C and step. Guarantee: the sum's L2
  // sensitivity to one example is what the gradient pass's rule enforces at C, and the sum carries
  // it.
  absl::StatusOr<dp::ClippedSum> SumClippedGradients(const dp::Batch& batch, double clip_norm,
                                                     int64_t step);

 private:
  const Options options_;
  const data::RecordLoader& loader_;
  dp::GradientPass& gradient_pass_;
  Executor& executor_;
  fsdp::ShardedParameters& parameters_;
};

// The loader's tensors as the models take them, with what `draws` (null: nothing) draws for the
// step.
models::MicroBatch LoadForModel(const data::RecordLoader& loader,
                                const data::PlannedMicroBatch& planned,
                                const data::ExampleDraws* draws = nullptr, int64_t step = 0);

}  // namespace sotto::train

#endif  // SOTTO_WORKER_TRAIN_GRADIENT_SUMMER_H_
