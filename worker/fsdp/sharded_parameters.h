// What a rank holds of a model: master shards and gradient shards of every unit, and the slots in
// which whole units and whole gradients appear for a while.
//
//   master shard --Gather--> gathered slot --(compute)--> gradient slot --Reduce--> gradient shard
//
// Shards are the rank's slices of the flat buffers (common/layout/flat_layout.h): one of the
// trainable region, one of the frozen region. Padding is zero in all of them, always.
//
//   FULL_SHARD     shards over all ranks; slots shared by the blocks
//   SHARD_GRAD_OP  shards over all ranks; a gathered and a gradient slot for every unit
//   HYBRID_SHARD   as FULL_SHARD inside each replica; the last Reduce sums over replicas
//   NO_SHARD       a shard is the whole unit, and its slots are the shards themselves
#ifndef SOTTO_WORKER_FSDP_SHARDED_PARAMETERS_H_
#define SOTTO_WORKER_FSDP_SHARDED_PARAMETERS_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "ATen/core/Tensor.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/layout/flat_layout.h"
#include "common/layout/model_description.h"
#include "common/layout/slot_layout.h"
#include "common/layout/strategy.h"
#include "common/layout/wrapping.h"
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
    layout::Strategy strategy = layout::Strategy::kFullShard;
    std::vector<bool> kept_gathered;  // by unit, as in ScheduleOptions; empty: none
    layout::BlockPlaces blocks;       // of a wrapped model; empty: every block is its unit
    bool has_gradients = true;        // false: forward passes alone, gradients have no elements
  };

  // `model` and `layout` are of units. Allocates everything, zero. Borrows its arguments for its
  // lifetime. INVALID_ARGUMENT: the layout's world size is not that of the strategy's shard group
  // (HYBRID_SHARD: does not divide the communicator's).
  static absl::StatusOr<std::unique_ptr<ShardedParameters>> Create(
      const layout::ModelDescription& model, const layout::FlatLayout& layout,
      comm::Communicator& communicator, const Options& options);

  // Fills this rank's master shards with initial values (common/layout/init_values.h).
  void Initialize(uint64_t init_seed);

  // All shards of `unit`, straight into the slot. NO_SHARD: nothing to do.
  absl::Status Gather(int unit, int slot);

  // A block's parameters in the gathered slot, in the block's order. Valid until other units are
  // gathered into it.
  absl::Span<const at::Tensor> ParameterViews(int block, int slot) const {
    return gathered_.Parameters(block, slot);
  }

  // A block's gradients in the gradient slot, to be added to. Undefined tensors for frozen
  // parameters.
  absl::Span<const at::Tensor> GradientViews(int block, int slot) const {
    return gradients_->Parameters(block, slot);
  }

  // Zeroes the gradient slot of the block's units, padding included.
  void ClearGradient(int block, int slot);

  // A unit's flat buffer in a slot, padding included: what Gather fills and Reduce reads.
  const at::Tensor& WholeUnit(int unit, int slot) const { return gathered_.Whole(unit, slot); }
  const at::Tensor& WholeGradient(int unit, int slot) const {
    return gradients_->Whole(unit, slot);
  }
  absl::Span<const int> UnitsOfBlock(int block) const { return options_.blocks.units[block]; }
  int num_blocks() const { return static_cast<int>(options_.blocks.units.size()); }

  // Adds the whole gradient in `slot` of every rank of the replica to the owners' gradient shards,
  // rank by rank; then, with `sums_replicas`, replaces the shards by their sums over the replicas.
  absl::Status Reduce(int unit, int slot, bool sums_replicas = false);

  // Zeroes all gradient shards: the begin of a step.
  void ClearGradientShards();

  // fp32 [shard_elements], this rank's; empty for a unit without trainable parameters.
  const at::Tensor& MasterShard(int unit) const { return shards_.master[unit]; }
  const at::Tensor& GradientShard(int unit) const { return shards_.gradient[unit]; }

  // fp32 [frozen.shard_elements]: this rank's frozen parameters.
  const at::Tensor& FrozenShard(int unit) const { return shards_.frozen[unit]; }

  layout::Strategy strategy() const { return options_.strategy; }
  const layout::RankGrid& grid() const { return grid_; }
  // This rank's place among those that share one copy of the model, and which copy that is.
  int shard_rank() const { return grid_.ShardOf(communicator_.rank()); }
  int replica() const { return grid_.ReplicaOf(communicator_.rank()); }
  // The ranks of this copy; the ranks that hold the same shard of every copy.
  comm::RankGroup shard_group() const;
  comm::RankGroup replica_group() const;

  // Replaces the values, which each rank formed of its own shards, by their sums over one copy of
  // the model.
  absl::Status SumOverShards(absl::Span<double> values) {
    return communicator_.AllReduceSum(shard_group(), values);
  }

  const layout::ModelDescription& model() const { return model_; }
  const layout::FlatLayout& layout() const { return layout_; }
  comm::Communicator& communicator() { return communicator_; }

 private:
  ShardedParameters(const layout::ModelDescription& model, const layout::FlatLayout& layout,
                    comm::Communicator& communicator, const Options& options,
                    const layout::RankGrid& grid);

  struct Shards {
    std::vector<at::Tensor> units;  // NO_SHARD: whole flat buffers, which the others are views of
    std::vector<at::Tensor> master;
    std::vector<at::Tensor> frozen;
    std::vector<at::Tensor> gradient;
  };

  static Shards Allocate(const layout::FlatLayout& layout, const Options& options);
  SlotPool MakePool(const layout::SlotLayout& slots, const std::vector<at::Tensor>& whole_shards,
                    Region region) const;
  layout::SlotChoice Slots() const;
  void InitializeParameter(int unit, size_t parameter, layout::Interval shard,
                           const at::Tensor& values, uint64_t init_seed);

  const layout::ModelDescription& model_;
  const layout::FlatLayout& layout_;
  comm::Communicator& communicator_;
  const Options options_;
  const layout::RankGrid grid_;
  const Shards shards_;
  SlotPool gathered_;
  std::optional<SlotPool> gradients_;  // none without has_gradients
};

}  // namespace sotto::fsdp

#endif  // SOTTO_WORKER_FSDP_SHARDED_PARAMETERS_H_
