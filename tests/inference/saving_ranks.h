// Ranks that hold a directory's model in their shards, to write it back.
#ifndef SOTTO_TESTS_INFERENCE_SAVING_RANKS_H_
#define SOTTO_TESTS_INFERENCE_SAVING_RANKS_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/checkpoint/file_operations.h"
#include "common/checkpoint/hugging_face_files.h"
#include "common/checkpoint/safetensors_layout.h"
#include "common/layout/model_description.h"
#include "common/layout/strategy.h"
#include "worker/comm/communicator.h"
#include "worker/infer/model_saver.h"
#include "worker/infer/save_plan.h"
#include "worker/infer/sharded_model.h"

namespace sotto::inference {

struct Grid {
  layout::Strategy strategy = layout::Strategy::kFullShard;
  int world_size = 1;
  int shard_group_size = 1;

  layout::RankGrid ranks() const {
    return *layout::MakeRankGrid(strategy, world_size, shard_group_size);
  }
};

std::string Describe(const Grid& grid);

// World sizes 1 to 4, every strategy, every size of a shard group.
std::vector<Grid> AllGrids();

// A directory, as it is read and written.
struct Source {
  std::string directory;
  std::unique_ptr<checkpoint::HuggingFaceFiles> files;
  layout::ModelDescription description;
  infer::SavePlan plan;

  static absl::StatusOr<Source> Open(const std::string& directory);

  // Of what is written, in its order.
  std::vector<checkpoint::TensorShape> Shapes() const;
};

// Runs `body` on every rank, which is a thread, with the rank's shards.
absl::Status RunWithModel(
    const Source& source, const Grid& grid,
    absl::FunctionRef<absl::Status(infer::ShardedModel&, comm::Communicator&)> body);

// SaveModel on every rank, each with its own of `files`; fewer: the others share the last one.
absl::Status Save(const Source& source, const Grid& grid, const infer::SaveOptions& options,
                  const std::vector<checkpoint::FileOperations*>& files);

}  // namespace sotto::inference

#endif  // SOTTO_TESTS_INFERENCE_SAVING_RANKS_H_
