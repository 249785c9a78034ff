#include "worker/dp/poisson_sampler.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/crypto/hkdf.h"
#include "worker/dp/record_range.h"
#include "worker/dp/uniform_draws.h"

namespace sotto::dp {

namespace {

constexpr uint64_t kInclusionStream = 0;
constexpr uint64_t kOverflowStream = 1;

// A uniform random subset of `size`: the first steps of a Fisher-Yates shuffle.
void KeepRandomSubset(const kernels::ChaChaKey& key, int64_t size, std::vector<int64_t>& ids) {
  UniformDraws draws(key, kOverflowStream);
  for (int64_t i = 0; i < size; ++i) std::swap(ids[i], ids[i + draws.Below(ids.size() - i)]);
  ids.resize(size);
  std::sort(ids.begin(), ids.end());
}

}  // namespace

absl::StatusOr<std::unique_ptr<PoissonSampler>> PoissonSampler::Create(Options options) {
  if (!(options.sampling_rate >= 0 && options.sampling_rate <= 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("sampling_rate must be in [0, 1], but is ", options.sampling_rate));
  }
  RETURN_IF_ERROR(CheckRecords(options.records, options.max_records));
  RETURN_IF_ERROR(CheckBatchCap(options.batch_cap, /*largest_batch=*/1));
  return std::unique_ptr<PoissonSampler>(new PoissonSampler(std::move(options)));
}

Batch PoissonSampler::Sample(const grant::StepGrant& grant) const {
  const kernels::ChaChaKey key =
      kernels::ChaChaKey::FromBytes(crypto::DeriveKey(options_.secret, "sampling", grant.step()));
  const bool takes_all = options_.sampling_rate == 1;
  // Rounded down: the rate is never above the accounted one.
  const uint64_t threshold =
      takes_all ? 0 : static_cast<uint64_t>(std::floor(options_.sampling_rate * 0x1p64));
  Batch batch;
  // Possible records that the file does not hold would be drawn for nothing; each one's draw is its
  // own.
  UniformDraws draws(key, kInclusionStream);
  for (int64_t record = 0; record < options_.records; ++record) {
    const uint64_t draw = draws.Next();
    if (takes_all || draw < threshold) batch.ids.push_back(record);
  }
  if (static_cast<int64_t>(batch.ids.size()) > options_.batch_cap) {
    KeepRandomSubset(key, options_.batch_cap, batch.ids);
  }
  return batch;
}

}  // namespace sotto::dp
