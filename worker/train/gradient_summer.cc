#include "worker/train/gradient_summer.h"

#include <utility>

#include "common/base/status_macros.h"
#include "worker/data/micro_batch_plan.h"
#include "worker/dp/clipped_sum_passkey.h"

namespace sotto::train {
namespace {

std::vector<dp::ShardSlice> SlicesOf(const fsdp::ShardedParameters& parameters) {
  const int rank = parameters.shard_rank();
  const layout::FlatLayout& layout = parameters.layout();
  std::vector<dp::ShardSlice> slices;
  for (int unit = 0; unit < layout.num_units(); ++unit) {
    dp::ShardSlice slice{
        .values = parameters.GradientShard(unit),
        .canonical_base = layout.unit(unit).canonical_base + layout.Shard(unit, rank).begin};
    for (const layout::Interval& used : layout.UsedIntervals(unit, rank)) {
      slice.used.push_back({used.begin, used.end});
    }
    slices.push_back(std::move(slice));
  }
  return slices;
}

}  // namespace

models::MicroBatch LoadForModel(const data::RecordLoader& loader,
                                const data::PlannedMicroBatch& planned,
                                const data::ExampleDraws* draws, int64_t step) {
  data::LoadedMicroBatch loaded = loader.Load(planned);
  if (draws != nullptr) draws->Draw(step, loaded);
  return {.tokens_BT = std::move(loaded.tokens_BT),
          .loss_mask_BT = std::move(loaded.loss_mask_BT),
          .example_ids = std::move(loaded.example_ids),
          .labels_B = std::move(loaded.labels_B),
          .token_mask_BT = std::move(loaded.token_mask_BT),
          .values_BCHW = std::move(loaded.values_BCHW),
          .targets_BK = std::move(loaded.targets_BK),
          .noise_BCHW = std::move(loaded.noise_BCHW),
          .time_steps_B = std::move(loaded.time_steps_B)};
}

GradientSummer::GradientSummer(Options options, const data::RecordLoader& loader,
                               dp::GradientPass& gradient_pass, Executor& executor,
                               fsdp::ShardedParameters& parameters)
    : options_(std::move(options)),
      loader_(loader),
      gradient_pass_(gradient_pass),
      executor_(executor),
      parameters_(parameters) {}

absl::StatusOr<dp::ClippedSum> GradientSummer::SumClippedGradients(const dp::Batch& batch,
                                                                   double clip_norm, int64_t step) {
  const comm::Communicator& communicator = parameters_.communicator();
  const std::vector<data::PlannedMicroBatch> plan = data::PlanMicroBatches(
      batch.ids, loader_.Lengths(batch.ids), options_.lengths, options_.micro_batch_size);
  const std::vector<data::PlannedMicroBatch> own =
      data::MicroBatchesOfRank(plan, communicator.rank(), communicator.world_size(),
                               options_.lengths.front(), options_.minimum_micro_batches);
  RETURN_IF_ERROR(gradient_pass_.SetClipNorm(clip_norm));
  parameters_.ClearGradientShards();
  ASSIGN_OR_RETURN(dp::PrivateStatistics statistics,
                   executor_.SumGradients(static_cast<int>(own.size()), [&](int i) {
                     return LoadForModel(loader_, own[i], options_.draws, step);
                   }));
  return dp::ClippedSum(dp::ClippedSumPasskey::Vouch(), SlicesOf(parameters_),
                        std::move(statistics), gradient_pass_.EndStep());
}

}  // namespace sotto::train
