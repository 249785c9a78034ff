#include "tools/check/model_directory.h"

#include <algorithm>
#include <thread>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/spec/hugging_face_config.h"

namespace sotto::check {
namespace {

constexpr double kProductsWorthThreads = 1e10;

absl::StatusOr<layout::ModelDescription> Describe(const std::string& directory,
                                                  const checkpoint::HuggingFaceFiles& files) {
  const std::string path = absl::StrCat(directory, "/config.json");
  ASSIGN_OR_RETURN(const std::string json, ReadFile(path));
  ASSIGN_OR_RETURN(spec::HuggingFaceDimensions dimensions, spec::ParseHuggingFaceConfig(json));
  ASSIGN_OR_RETURN(const bool own_head, checkpoint::HasOwnHead(files));
  if (own_head) std::visit([](auto& family) { family.tied_head = false; }, dimensions);
  return spec::DescribeHuggingFace(dimensions);
}

}  // namespace

absl::StatusOr<ModelDirectory> OpenModelDirectory(const std::string& directory) {
  ASSIGN_OR_RETURN(std::unique_ptr<checkpoint::HuggingFaceFiles> files,
                   checkpoint::HuggingFaceFiles::Open(directory));
  ASSIGN_OR_RETURN(layout::ModelDescription description, Describe(directory, *files));
  ASSIGN_OR_RETURN(checkpoint::HuggingFaceWeights weights,
                   checkpoint::HuggingFaceWeights::Match(*files, description));
  return ModelDirectory{.files = std::move(files),
                        .description = std::move(description),
                        .weights = std::move(weights)};
}

absl::Status CheckLength(const layout::ModelDescription& model, int64_t tokens) {
  const auto* gpt2 = std::get_if<layout::Gpt2Dimensions>(&model.family);
  if (gpt2 == nullptr || tokens <= gpt2->max_length) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("the batch has ", tokens,
                                                 " tokens per example, but the model only ",
                                                 gpt2->max_length, " positions"));
}

absl::StatusOr<layout::RankGrid> ChooseGrid(layout::Strategy strategy, int world_size,
                                            int shard_group_size) {
  if (shard_group_size < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("--shard_group_size must be at least 0, but is ", shard_group_size));
  }
  if (shard_group_size > 0 && strategy != layout::Strategy::kHybridShard) {
    return absl::InvalidArgumentError(
        absl::StrCat("--shard_group_size is of HYBRID_SHARD, but --strategy is ",
                     layout::StrategyName(strategy)));
  }
  const int group = shard_group_size > 0 ? shard_group_size : (world_size + 1) / 2;
  const auto grid = layout::MakeRankGrid(strategy, world_size, group);
  if (grid.has_value()) return *grid;
  return absl::InvalidArgumentError(absl::StrCat(
      "--shard_group_size must divide --world_size, but ", group, " does not divide ", world_size));
}

int ChooseThreads(const layout::ModelDescription& model, int64_t tokens, int world_size) {
  const double products = static_cast<double>(model.num_elements()) * static_cast<double>(tokens);
  if (products < kProductsWorthThreads) return 1;
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()) / world_size);
}

}  // namespace sotto::check
