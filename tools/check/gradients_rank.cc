#include "tools/check/gradients_rank.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "ATen/Parallel.h"
#include "common/base/status_macros.h"
#include "common/layout/gradient_mode.h"
#include "worker/dp/flat_clipping.h"
#include "worker/dp/gradient_pass.h"
#include "worker/fsdp/sharded_parameters.h"
#include "worker/models/model.h"
#include "worker/train/executor.h"
#include "worker/train/initial_weights.h"
#include "worker/train/torch_errors.h"

namespace sotto::check {
namespace {

// The mode that measures norms when the given one does not.
constexpr char kMeasuringMode[] = "flash";

absl::Span<float> Values(const at::Tensor& flat) {
  return {flat.data_ptr<float>(), static_cast<size_t>(flat.numel())};
}

class GradientsRank {
 public:
  GradientsRank(const GradientsJob& job, comm::Communicator& communicator, GradientsResult& result)
      : job_(job), communicator_(communicator), result_(result) {}

  absl::Status Run() {
    at::set_num_threads(job_.threads);
    ASSIGN_OR_RETURN(model_, models::Model::Create(job_.model, {}));
    ASSIGN_OR_RETURN(parameters_, fsdp::ShardedParameters::Create(
                                      job_.model, job_.layout, communicator_,
                                      {.gathered_slots = job_.schedule.gathered_slots,
                                       .gradient_slots = job_.schedule.gradient_slots,
                                       .strategy = job_.schedule.strategy}));
    RETURN_IF_ERROR(train::FillShards(job_.weights, /*init_seed=*/0, *parameters_));
    RETURN_IF_ERROR(ComputeLosses());
    const bool measures = job_.schedule.mode.norm != layout::Norm::kNone;
    if (!measures) {
      layout::ScheduleChoice measuring = job_.schedule;
      measuring.mode = *layout::FindMode(kMeasuringMode);
      RETURN_IF_ERROR(SumGradients(measuring, /*measure=*/true));
    }
    RETURN_IF_ERROR(SumGradients(job_.schedule, measures));
    CopyShards();
    return communicator_.Barrier();
  }

 private:
  int shard() const { return job_.grid.ShardOf(communicator_.rank()); }

  // Every rank runs as many; those beyond the batch hold dummies.
  int MicroBatches() const {
    const int64_t per_round = job_.micro_batch_size * communicator_.world_size();
    return static_cast<int>((job_.batch.examples + per_round - 1) / per_round);
  }
  int64_t FirstExample(int micro_batch) const {
    return (int64_t{micro_batch} * communicator_.world_size() + communicator_.rank()) *
           job_.micro_batch_size;
  }

  train::Executor MakeExecutor(const layout::ScheduleChoice& schedule, dp::GradientPass& pass) {
    return train::Executor(layout::MakeScheduleOptions(job_.model, schedule), *model_, *parameters_,
                           pass, /*profile=*/nullptr,
                           job_.in_bfloat16 ? at::kBFloat16 : at::kFloat);
  }

  absl::StatusOr<std::unique_ptr<dp::GradientPass>> MakePass(
      const layout::ScheduleChoice& schedule) {
    ASSIGN_OR_RETURN(auto clipping, dp::FlatClipping::Create(job_.clip_norm, /*margin=*/0));
    return dp::GradientPass::Create(job_.layout, {.mode = schedule.mode,
                                                  .layer_modes = schedule.layer_modes,
                                                  .clipping = std::move(clipping),
                                                  .max_examples = job_.micro_batch_size});
  }

  absl::Status ComputeLosses() {
    ASSIGN_OR_RETURN(const std::unique_ptr<dp::GradientPass> pass, MakePass(job_.schedule));
    train::Executor executor = MakeExecutor(job_.schedule, *pass);
    return executor.ComputeLosses(
        MicroBatches(),
        [&](int i) { return job_.batch.Slice(FirstExample(i), job_.micro_batch_size); },
        [&](const models::MicroBatch& batch, const at::Tensor& losses_B) {
          const float* losses = losses_B.const_data_ptr<float>();
          for (size_t b = 0; b < batch.example_ids.size(); ++b) {
            if (batch.example_ids[b] >= 0) result_.losses_B[batch.example_ids[b]] = losses[b];
          }
        });
  }

  // A micro-batch's norms can be read until the next one begins.
  void KeepNorms(const dp::GradientPass& pass, int micro_batch) {
    const double* norm_sq = pass.private_norm_sq_B().const_data_ptr<double>();
    const int64_t first = FirstExample(micro_batch);
    for (int64_t b = 0; b < job_.micro_batch_size && first + b < job_.batch.examples; ++b) {
      // Rounding may leave a square below zero; what is no number stays so.
      result_.norms_B[first + b] = norm_sq[b] < 0 ? 0 : std::sqrt(norm_sq[b]);
    }
  }

  absl::Status SumGradients(const layout::ScheduleChoice& schedule, bool measure) {
    ASSIGN_OR_RETURN(const std::unique_ptr<dp::GradientPass> pass, MakePass(schedule));
    train::Executor executor = MakeExecutor(schedule, *pass);
    parameters_->ClearGradientShards();
    RETURN_IF_ERROR(executor
                        .SumGradients(MicroBatches(),
                                      [&](int i) {
                                        if (measure && i > 0) KeepNorms(*pass, i - 1);
                                        return job_.batch.Slice(FirstExample(i),
                                                                job_.micro_batch_size);
                                      })
                        .status());
    if (measure && MicroBatches() > 0) KeepNorms(*pass, MicroBatches() - 1);
    return absl::OkStatus();
  }

  // Replicas hold the same: the first one's are taken.
  void CopyShards() {
    if (job_.grid.ReplicaOf(communicator_.rank()) != 0) return;
    for (int unit = 0; unit < job_.layout.num_units(); ++unit) {
      const absl::Span<const float> values = Values(parameters_->GradientShard(unit));
      std::copy(values.begin(), values.end(),
                result_.sums[unit].begin() + job_.layout.Shard(unit, shard()).begin);
    }
  }

  const GradientsJob& job_;
  comm::Communicator& communicator_;
  GradientsResult& result_;
  std::unique_ptr<models::Model> model_;
  std::unique_ptr<fsdp::ShardedParameters> parameters_;
};

}  // namespace

absl::Status RunGradientsRank(const GradientsJob& job, comm::Communicator& communicator,
                              GradientsResult& result) {
  return train::CatchTorchErrors([&] { return GradientsRank(job, communicator, result).Run(); });
}

}  // namespace sotto::check
