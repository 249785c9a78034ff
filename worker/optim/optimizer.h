// Optimizers over flat fp32 shards.
#ifndef SOTTO_WORKER_OPTIM_OPTIMIZER_H_
#define SOTTO_WORKER_OPTIM_OPTIMIZER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "ATen/core/Tensor.h"
#include "absl/status/status.h"
#include "worker/dp/noised_gradient.h"

namespace sotto::optim {

// One unit's master shard on this rank.
struct ParameterShard {
  at::Tensor
      values;  // flat, contiguous, fp32; borrowed: shares the storage of the sharded parameters
  // Ascending, disjoint, relative to values[0]: elements that weight decay applies to (not biases,
  // norms, padding).
  std::vector<dp::Interval> decayed;
};

// One tensor of optimizer state, flat and sharded like the parameters.
struct StateTensor {
  std::string name;   // "momentum"; "m", "v"
  int unit = 0;       // index into the shards
  at::Tensor values;  // shares storage: a checkpoint is read into it
};

// One number of optimizer state, equal on all ranks.
struct StateNumber {
  std::string name;
  double* value = nullptr;  // borrowed from the optimizer: a checkpoint is read into it
};

// Trainer thread only. Elementwise, so the result does not depend on how buffers are sliced;
// padding is left alone.
class Optimizer {
 public:
  virtual ~Optimizer() = default;

  // Applies the release of step `step` (from 0; bias corrections count from it), in the pass that
  // adds its noise. Its shards match the parameter shards by index. INVALID_ARGUMENT: number or
  // sizes of the shards differ; nothing has changed.
  virtual absl::Status Step(const dp::NoisedGradient& gradient, double learning_rate,
                            int64_t step) = 0;

  // "sgd" or "adamw": what a checkpoint's manifest says.
  virtual std::string name() const = 0;

  // Empty when there is none (SGD without momentum). Order: by name, then unit.
  virtual std::vector<StateTensor> State() = 0;
  virtual std::vector<StateNumber> Numbers() { return {}; }
};

}  // namespace sotto::optim

#endif  // SOTTO_WORKER_OPTIM_OPTIMIZER_H_
