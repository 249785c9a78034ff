// What a rank holds of a model: master shards and gradient shards of every unit, and the slots in
// which whole units and whole gradients appear for a while.
//
//   master shard --Gather--> gathered slot --(compute)--> gradient slot --Reduce--> gradient shard
//
// Shards are the rank's slices of the flat buffers (common/layout/flat_layout.h). Padding is zero
// in all of them, always.
#ifndef SOTTO_WORKER_FSDP_SHARDED_PARAMETERS_H_
#define SOTTO_WORKER_FSDP_SHARDED_PARAMETERS_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "ATen/core/Tensor.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/layout/flat_layout.h"
#include "common/layout/model_description.h"
#include "worker/comm/communicator.h"
#include "worker/fsdp/slot_pool.h"

namespace sotto::fsdp {

// Trainer thread only. Gather and Reduce are collectives: all ranks call them in the same order.
// Their errors are the communicator's.
class ShardedParameters {
 public:
  struct Options {
    int gathered_slots = 2;  // of blocks
    int gradient_slots = 2;  // of blocks
  };

  // Allocates everything, zero. Borrows its arguments for its lifetime. INVALID_ARGUMENT: the
  // layout is not of the communicator's world size.
  static absl::StatusOr<std::unique_ptr<ShardedParameters>> Create(
      const layout::ModelDescription& model, const layout::FlatLayout& layout,
      comm::Communicator& communicator, const Options& options);

  // Fills this rank's master shards with initial values (common/layout/init_values.h).
  void Initialize(uint64_t init_seed);

  // All shards of `unit`, straight into the slot.
  absl::Status Gather(int unit, int slot);

  // Views of the gathered slot, in the layout's order. Valid until another unit is gathered into
  // it.
  absl::Span<const at::Tensor> ParameterViews(int unit, int slot) const {
    return gathered_.Parameters(unit, slot);
  }

  // Views of the gradient slot, to be added to.
  absl::Span<const at::Tensor> GradientViews(int unit, int slot) const {
    return gradients_.Parameters(unit, slot);
  }

  // Zeroes the unit's gradient slot, padding included.
  void ClearGradient(int unit, int slot);

  // Adds every rank's whole gradient in `slot` to the owners' gradient shards, rank by rank.
  absl::Status Reduce(int unit, int slot);

  // Zeroes all gradient shards: the begin of a step.
  void ClearGradientShards();

  // fp32 [shard_elements], this rank's.
  const at::Tensor& MasterShard(int unit) const { return master_shards_[unit]; }
  const at::Tensor& GradientShard(int unit) const { return gradient_shards_[unit]; }

  const layout::ModelDescription& model() const { return model_; }
  const layout::FlatLayout& layout() const { return layout_; }
  comm::Communicator& communicator() { return communicator_; }

 private:
  ShardedParameters(const layout::ModelDescription& model, const layout::FlatLayout& layout,
                    comm::Communicator& communicator, const Options& options);

  const layout::ModelDescription& model_;
  const layout::FlatLayout& layout_;
  comm::Communicator& communicator_;
  SlotPool gathered_;
  SlotPool gradients_;
  std::vector<at::Tensor> master_shards_;
  std::vector<at::Tensor> gradient_shards_;
};

}  // namespace sotto::fsdp

#endif  // SOTTO_WORKER_FSDP_SHARDED_PARAMETERS_H_
