#include "tools/check/logits_check.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <optional>
#include <vector>

#include "ATen/Parallel.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/checkpoint/safetensors_writer.h"
#include "common/layout/flat_layout.h"
#include "common/layout/memory.h"
#include "common/layout/strategy.h"
#include "tools/check/arguments.h"
#include "tools/check/gradients_batch.h"
#include "tools/check/model_directory.h"
#include "tools/check/rank_threads.h"
#include "worker/comm/communicator.h"
#include "worker/infer/model_saver.h"
#include "worker/infer/save_plan.h"
#include "worker/infer/sharded_model.h"
#include "worker/infer/text_groups.h"
#include "worker/train/initial_weights.h"
#include "worker/train/torch_errors.h"

namespace sotto::check {
namespace {

// What all ranks do alike. Borrowed by them.
struct LogitsJob {
  const LogitsOptions& options;
  const ModelDirectory& directory;
  const PublicBatch& batch;
  layout::Strategy strategy;
  layout::RankGrid grid;
  std::optional<infer::SavePlan> save;
  int threads = 1;  // of one rank
};

models::InferenceBatch BatchOf(const PublicBatch& batch, const infer::TextGroup& group) {
  std::vector<std::vector<int32_t>> texts;
  for (int64_t i = 0; i < group.size; ++i) {
    const auto first = batch.ids.begin() + (group.first + i) * batch.tokens;
    texts.emplace_back(first, first + batch.tokens);
  }
  return infer::PadTexts(texts);
}

// Collective. Writes this rank's texts into `logits` [B, T, V].
absl::Status RunRank(const LogitsJob& job, comm::Communicator& communicator,
                     std::vector<float>& logits) {
  at::set_num_threads(job.threads);
  ASSIGN_OR_RETURN(const std::unique_ptr<infer::ShardedModel> model,
                   infer::ShardedModel::Create({.description = job.directory.description,
                                                .strategy = job.strategy,
                                                .shard_group_size = job.grid.shards},
                                               communicator));
  RETURN_IF_ERROR(train::FillShards(job.directory.weights, /*init_seed=*/0, model->parameters()));
  const infer::TextGroups groups(job.batch.examples, /*batch_size=*/1, communicator.world_size());
  const int64_t text_logits = job.batch.tokens * job.directory.description.vocabulary_size;
  for (int64_t pass = 0; pass < groups.num_passes(); ++pass) {
    const std::vector<infer::TextGroup> own = groups.OfRank(pass, communicator.rank());
    std::vector<models::InferenceBatch> batches;
    for (const infer::TextGroup& group : own) batches.push_back(BatchOf(job.batch, group));
    RETURN_IF_ERROR(model->forward().Begin(/*passes=*/1));
    RETURN_IF_ERROR(model->forward().Run(
        batches, [](size_t, int, const at::Tensor&) {},
        [&](size_t group, int64_t first, const at::Tensor& rows) {
          const int64_t begin = own[group].first * text_logits + first * rows.size(1);
          std::copy_n(rows.const_data_ptr<float>(), rows.numel(), logits.begin() + begin);
        }));
  }
  if (!job.save.has_value()) return communicator.Barrier();
  return infer::SaveModel(*model, communicator, *job.save, {.directory = job.options.save_model});
}

absl::Status Write(const LogitsJob& job, const std::vector<float>& logits) {
  const std::string unfinished = absl::StrCat(job.options.out, ".unfinished");
  const auto write = [&]() -> absl::Status {
    ASSIGN_OR_RETURN(checkpoint::SafetensorsWriter writer,
                     checkpoint::SafetensorsWriter::Create(
                         unfinished,
                         {{.name = "logits",
                           .shape = {job.batch.examples, job.batch.tokens,
                                     job.directory.description.vocabulary_size}}},
                         {}));
    RETURN_IF_ERROR(writer.Append(logits));
    return writer.Finish().status();
  };
  absl::Status status = write();
  if (status.ok() && std::rename(unfinished.c_str(), job.options.out.c_str()) != 0) {
    status = absl::ErrnoToStatus(errno, job.options.out);
  }
  if (!status.ok()) unlink(unfinished.c_str());
  return status;
}

}  // namespace

absl::Status WriteLogits(const LogitsOptions& options) {
  RETURN_IF_ERROR(CheckWorldSize(options.world_size));
  RETURN_IF_ERROR(CheckOut(options.out, options.batch, options.model));
  ASSIGN_OR_RETURN(const layout::Strategy strategy, ParseStrategy(options.strategy));
  ASSIGN_OR_RETURN(const PublicBatch batch,
                   ReadPublicBatch(options.batch, /*needs_loss_mask=*/false));
  ASSIGN_OR_RETURN(const ModelDirectory directory, OpenModelDirectory(options.model));
  RETURN_IF_ERROR(CheckTokens(batch, directory.description.vocabulary_size));
  RETURN_IF_ERROR(CheckLength(directory.description, batch.tokens));
  ASSIGN_OR_RETURN(const layout::RankGrid grid,
                   ChooseGrid(strategy, options.world_size, options.shard_group_size));
  ASSIGN_OR_RETURN(const layout::FlatLayout layout,
                   layout::FlatLayout::Create(directory.description, grid.shards));
  LogitsJob job{.options = options,
                .directory = directory,
                .batch = batch,
                .strategy = strategy,
                .grid = grid,
                .threads = ChooseThreads(directory.description, batch.examples * batch.tokens,
                                         options.world_size)};
  if (!options.save_model.empty()) {
    ASSIGN_OR_RETURN(job.save,
                     infer::PlanLike(options.model, *directory.files, directory.description));
  }
  std::vector<float> logits(batch.examples * batch.tokens * directory.description.vocabulary_size);
  RETURN_IF_ERROR(RunAsThreads(
      options.world_size, layout::CommunicatorBytes(layout, options.world_size),
      [&](comm::Communicator& communicator) {
        return train::CatchTorchErrors([&] { return RunRank(job, communicator, logits); });
      }));
  return Write(job, logits);
}

}  // namespace sotto::check
