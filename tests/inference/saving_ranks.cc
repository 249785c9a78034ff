#include "tests/inference/saving_ranks.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/layout/flat_layout.h"
#include "common/layout/memory.h"
#include "common/spec/hugging_face_model.h"
#include "common/spec/model_layout.h"
#include "tools/check/rank_threads.h"
#include "worker/train/initial_weights.h"

namespace sotto::inference {

std::string Describe(const Grid& grid) {
  return absl::StrCat(std::string(layout::StrategyName(grid.strategy)), " ", grid.world_size, "/",
                      grid.shard_group_size);
}

std::vector<Grid> AllGrids() {
  std::vector<Grid> grids;
  for (int ranks = 1; ranks <= 4; ++ranks) {
    for (const layout::NamedStrategy& named : layout::kStrategies) {
      for (int group = 1; group <= ranks; ++group) {
        const bool is_hybrid = named.strategy == layout::Strategy::kHybridShard;
        if (ranks % group != 0 || (!is_hybrid && group > 1)) continue;
        grids.push_back({named.strategy, ranks, group});
      }
    }
  }
  return grids;
}

absl::StatusOr<Source> Source::Open(const std::string& directory) {
  v1::ModelSpec spec;
  spec.set_hugging_face_directory(directory);
  RETURN_IF_ERROR(spec::CompleteModel(spec));
  Source source{.directory = directory};
  ASSIGN_OR_RETURN(source.description, spec::DescribeModel(spec));
  ASSIGN_OR_RETURN(source.files, checkpoint::HuggingFaceFiles::Open(directory));
  ASSIGN_OR_RETURN(source.plan, infer::PlanLike(directory, *source.files, source.description));
  return source;
}

std::vector<checkpoint::TensorShape> Source::Shapes() const {
  std::vector<checkpoint::TensorShape> shapes;
  for (const infer::SavePlan::Tensor& tensor : plan.tensors) {
    shapes.push_back({tensor.name, tensor.source.entry->shape, tensor.dtype});
  }
  return shapes;
}

absl::Status RunWithModel(
    const Source& source, const Grid& grid,
    absl::FunctionRef<absl::Status(infer::ShardedModel&, comm::Communicator&)> body) {
  ASSIGN_OR_RETURN(const layout::FlatLayout flat,
                   layout::FlatLayout::Create(source.description, grid.ranks().shards));
  return check::RunAsThreads(
      grid.world_size, layout::CommunicatorBytes(flat, grid.world_size),
      [&](comm::Communicator& communicator) -> absl::Status {
        ASSIGN_OR_RETURN(const auto model,
                         infer::ShardedModel::Create({.description = source.description,
                                                      .strategy = grid.strategy,
                                                      .shard_group_size = grid.shard_group_size},
                                                     communicator));
        RETURN_IF_ERROR(
            train::LoadHuggingFace(source.directory, /*init_seed=*/0, model->parameters()));
        return body(*model, communicator);
      });
}

absl::Status Save(const Source& source, const Grid& grid, const infer::SaveOptions& options,
                  const std::vector<checkpoint::FileOperations*>& files) {
  return RunWithModel(source, grid, [&](infer::ShardedModel& model, comm::Communicator& ranks) {
    infer::SaveOptions own = options;
    own.files = files[std::min<size_t>(ranks.rank(), files.size() - 1)];
    return infer::SaveModel(model, ranks, source.plan, own);
  });
}

}  // namespace sotto::inference
