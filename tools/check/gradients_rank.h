// One rank's part of `sotto-check gradients`.
#ifndef SOTTO_TOOLS_CHECK_GRADIENTS_RANK_H_
#define SOTTO_TOOLS_CHECK_GRADIENTS_RANK_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "common/checkpoint/hugging_face_weights.h"
#include "common/layout/flat_layout.h"
#include "common/layout/model_description.h"
#include "common/layout/schedule_options.h"
#include "tools/check/gradients_batch.h"
#include "worker/comm/communicator.h"

namespace sotto::check {

// What all ranks do alike. Borrowed by them.
struct GradientsJob {
  const layout::ModelDescription& model;
  const layout::FlatLayout& layout;  // of the shard group
  const checkpoint::HuggingFaceWeights& weights;
  const PublicBatch& batch;
  layout::ScheduleChoice schedule;
  layout::RankGrid grid;
  double clip_norm = 0;
  int64_t micro_batch_size = 1;
  bool in_bfloat16 = false;  // activations, output gradients and the weights they are made with
  int threads = 1;           // of one rank
};

// Shared by the ranks, which write disjoint elements; sized by the caller.
struct GradientsResult {
  std::vector<float> losses_B;
  std::vector<double> norms_B;
  std::vector<std::vector<float>> sums;  // by unit: the flat buffer of the trainable region
};

// Collective. Loads this rank's slices of the weights, runs its micro-batches through the executor
// and writes its examples' losses and norms and its shards of the sum.
absl::Status RunGradientsRank(const GradientsJob& job, comm::Communicator& communicator,
                              GradientsResult& result);

}  // namespace sotto::check

#endif  // SOTTO_TOOLS_CHECK_GRADIENTS_RANK_H_
