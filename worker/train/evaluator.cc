#include "worker/train/evaluator.h"

#include <array>
#include <numeric>

#include "common/base/status_macros.h"
#include "worker/train/gradient_summer.h"

namespace sotto::train {

Evaluator::Evaluator(const dataset::TokenFile& file, std::vector<int32_t> lengths,
                     int32_t micro_batch_size, Executor& executor, comm::Communicator& communicator,
                     const data::ExampleDraws* draws)
    : num_records_(file.num_records()),
      loader_(file, micro_batch_size),
      executor_(executor),
      communicator_(communicator),
      draws_(draws) {
  std::vector<int64_t> ids(num_records_);
  std::iota(ids.begin(), ids.end(), 0);
  own_ = data::MicroBatchesOfRank(
      data::PlanMicroBatches(ids, loader_.Lengths(ids), lengths, micro_batch_size),
      communicator.rank(), communicator.world_size(), lengths.front(),
      /*minimum_count=*/0);
}

absl::StatusOr<double> Evaluator::MeanLoss() {
  std::array<double, 1> sum{};
  const auto add = [&sum](const models::MicroBatch& batch, const at::Tensor& losses_B) {
    const float* losses = losses_B.data_ptr<float>();
    for (size_t b = 0; b < batch.example_ids.size(); ++b) {
      if (batch.example_ids[b] >= 0) sum[0] += losses[b];
    }
  };
  RETURN_IF_ERROR(executor_.ComputeLosses(
      static_cast<int>(own_.size()),
      [this](int i) { return LoadForModel(loader_, own_[i], draws_); }, add));
  RETURN_IF_ERROR(communicator_.AllReduceSum(absl::MakeSpan(sum)));
  return num_records_ == 0 ? 0 : sum[0] / static_cast<double>(num_records_);
}

}  // namespace sotto::train
