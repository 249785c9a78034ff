#ifndef SOTTO_WORKER_INFER_SHARDED_MODEL_H_
#define SOTTO_WORKER_INFER_SHARDED_MODEL_H_

#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/checkpoint/checkpoint_reader.h"
#include "common/layout/flat_layout.h"
#include "common/layout/model_description.h"
#include "common/layout/strategy.h"
#include "worker/comm/communicator.h"
#include "worker/fsdp/sharded_parameters.h"
#include "worker/infer/forward_pass.h"
#include "worker/models/model.h"

namespace sotto::infer {

// A model that is read, never trained: its shards on this rank and the forward passes over them.
// Nothing is allocated for gradients. Trainer thread only.
class ShardedModel {
 public:
  struct Options {
    layout::ModelDescription description;
    layout::Strategy strategy = layout::Strategy::kFullShard;
    int shard_group_size = 1;  // HYBRID_SHARD
    int gathered_slots = 2;
  };

  // Parameters are zero until they are filled. Borrows the communicator. INVALID_ARGUMENT: ranks
  // that make no grid under the strategy, a description without a model.
  static absl::StatusOr<std::unique_ptr<ShardedModel>> Create(Options options,
                                                              comm::Communicator& communicator);

  // Reads this rank's slices of a checkpoint's parameters, whatever strategy and world size wrote
  // it. FAILED_PRECONDITION, naming the parameter: it lacks one, or has it in another shape.
  absl::Status Fill(const checkpoint::Checkpoint& checkpoint);

  const layout::ModelDescription& description() const { return description_; }
  const layout::FlatLayout& layout() const { return layout_; }
  fsdp::ShardedParameters& parameters() { return *parameters_; }
  ForwardPass& forward() { return *forward_; }

 private:
  ShardedModel(layout::ModelDescription description, layout::FlatLayout layout)
      : description_(std::move(description)), layout_(std::move(layout)) {}

  const layout::ModelDescription description_;
  const layout::FlatLayout layout_;
  std::unique_ptr<models::Model> model_;
  std::unique_ptr<fsdp::ShardedParameters> parameters_;
  std::unique_ptr<ForwardPass> forward_;
};

// The whole of a parameter, valid until its slot is gathered into again. Collective: every rank
// calls it with the same arguments, and holds no more than the parameter's unit for it.
absl::StatusOr<absl::Span<const float>> GatherParameter(fsdp::ShardedParameters& parameters,
                                                        int unit, int parameter);

// The positions that a language model knows of. INVALID_ARGUMENT, naming the family: it is no
// language model, so that there is nothing to generate, score or capture.
absl::StatusOr<int64_t> MaxLengthOf(const layout::ModelDescription& description);

}  // namespace sotto::infer

#endif  // SOTTO_WORKER_INFER_SHARDED_MODEL_H_
