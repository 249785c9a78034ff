// What one rank's process needs, from the layout alone: known before anything is started, and part
// of the plan.
#ifndef SOTTO_COMMON_LAYOUT_MEMORY_H_
#define SOTTO_COMMON_LAYOUT_MEMORY_H_

#include <cstdint>
#include <vector>

#include "common/layout/execution_schedule.h"
#include "common/layout/flat_layout.h"
#include "common/layout/gradient_mode.h"
#include "common/layout/model_description.h"
#include "common/layout/strategy.h"

namespace sotto::layout {

// Bytes, named as in plan.proto's MemoryPlan.
struct MemoryEstimate {
  int64_t parameters_bytes = 0;
  int64_t gradient_bytes = 0;
  int64_t optimizer_bytes = 0;
  int64_t slots_bytes = 0;
  int64_t activations_bytes = 0;
  int64_t held_gradients_bytes = 0;
  int64_t workspace_bytes = 0;
  int64_t communicator_bytes = 0;
  int64_t baseline_bytes = 0;
  // What the process may need beside all that, and no tensor has: holes in the heap, threads'
  // arenas, packed operands of the matrix library.
  int64_t fragmentation_bytes = 0;

  // Of tensors alone: worker/memory counts within [tensor_bytes() / 1.05, tensor_bytes()] at most
  // (tests/equivalence/memory_test). Activations, held gradients and workspace are those of the
  // moment that needs most.
  int64_t tensor_bytes() const {
    return parameters_bytes + gradient_bytes + optimizer_bytes + slots_bytes + activations_bytes +
           held_gradients_bytes + workspace_bytes;
  }

  // An upper bound of the resident set.
  int64_t total_bytes() const {
    return tensor_bytes() + communicator_bytes + baseline_bytes + fragmentation_bytes;
  }
};

struct MemoryOptions {
  int gathered_slots = 2;
  int gradient_slots = 2;
  UnitMode mode;
  int64_t micro_batch_size = 1;  // examples
  int64_t longest_length = 1;    // tokens, the largest of the plan's lengths
  int optimizer_states = 2;  // fp32 values per parameter: AdamW 2, SGD with momentum 1, without 0
  Strategy strategy = Strategy::kFullShard;
  LayerModes layer_modes;  // by unit and layer; empty: `mode` for all
  int world_size = 0;      // all ranks; 0: the layout's, which is the shard group's
  int threads_per_rank = 1;
  // As in ScheduleChoice: the units where they are not the model's blocks (null: `layout`, which
  // are the blocks), those that stay gathered, and the blocks that keep their input alone.
  const FlatLayout* units = nullptr;
  std::vector<bool> kept_gathered;
  std::vector<std::vector<int>> block_units;
  std::vector<int> checkpointed_blocks;
};

// What gRPC, its threads and their allocation arenas add to a worker that has a coordinator
// (measured on sotto-worker). Part of baseline_bytes.
inline constexpr int64_t kControlBytes = int64_t{20} << 20;

// The memfd of a local communicator of `world_size` ranks (0: the layout's): a header, and per rank
// two staging regions.
int64_t CommunicatorBytes(const FlatLayout& layout, int world_size = 0);

// fp32 elements of one staging region (a multiple of world_size x 32): the largest padded region of
// a unit, at most 2^20 (4 MiB).
int64_t CommunicatorRegionElements(const FlatLayout& layout, int world_size = 0);

// MemoryEstimate::fragmentation_bytes of a rank whose activations, held gradients and workspace are
// `step_bytes`.
int64_t FragmentationBytes(int threads, int64_t step_bytes);

// The peak of one rank. `layout` is that of the model's blocks. A model without footprints: what is
// static alone.
MemoryEstimate EstimateMemory(const ModelDescription& model, const FlatLayout& layout,
                              const MemoryOptions& options);

}  // namespace sotto::layout

#endif  // SOTTO_COMMON_LAYOUT_MEMORY_H_
