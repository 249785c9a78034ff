#include "worker/dp/shuffled_sampler.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/crypto/hkdf.h"
#include "worker/dp/record_range.h"
#include "worker/dp/uniform_draws.h"

namespace sotto::dp {

absl::StatusOr<std::unique_ptr<ShuffledSampler>> ShuffledSampler::Create(Options options) {
  RETURN_IF_ERROR(CheckRecords(options.records, options.max_records));
  if (options.max_records > std::numeric_limits<int32_t>::max()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "shuffled batches need max_records below 2^31, but it is ", options.max_records));
  }
  if (options.batch_places < 1 || options.batch_places > options.max_records) {
    return absl::InvalidArgumentError(absl::StrCat(
        "batch_places must be in [1, ", options.max_records, "], but is ", options.batch_places));
  }
  RETURN_IF_ERROR(CheckBatchCap(options.batch_cap, options.batch_places));
  return std::unique_ptr<ShuffledSampler>(new ShuffledSampler(std::move(options)));
}

ShuffledSampler::ShuffledSampler(Options options)
    : options_(std::move(options)),
      order_key_(options_.order_key),
      steps_per_epoch_((options_.max_records + options_.batch_places - 1) / options_.batch_places) {
}

Batch ShuffledSampler::Sample(const grant::StepGrant& grant) const {
  const std::vector<uint32_t>& order = OrderOf(grant.step() / steps_per_epoch_);
  const int64_t begin = grant.step() % steps_per_epoch_ * options_.batch_places;
  const int64_t end = std::min(options_.max_records, begin + options_.batch_places);
  Batch batch;
  for (int64_t i = begin; i < end; ++i) {
    if (order[i] < options_.records) batch.ids.push_back(order[i]);
  }
  std::sort(batch.ids.begin(), batch.ids.end());
  return batch;
}

const std::vector<uint32_t>& ShuffledSampler::OrderOf(int64_t epoch) const {
  if (epoch == epoch_) return order_;
  order_.resize(options_.max_records);
  std::iota(order_.begin(), order_.end(), 0);
  UniformDraws draws(
      kernels::ChaChaKey::FromBytes(crypto::DeriveKey(order_key_, "order of an epoch", epoch)),
      /*stream=*/0);
  for (size_t i = 0; i < order_.size(); ++i) {
    std::swap(order_[i], order_[i + draws.Below(order_.size() - i)]);
  }
  epoch_ = epoch;
  return order_;
}

}  // namespace sotto::dp
