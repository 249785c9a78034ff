#include "worker/dp/sampler.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "absl/numeric/int128.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "common/crypto/hkdf.h"
#include "kernels/chacha_normals.h"

namespace sotto::dp {

namespace {

constexpr uint64_t kInclusionStream = 0;
constexpr uint64_t kOverflowStream = 1;

// Calls visit(i, draw) with an independent uniform 64-bit draw for each i in [0, count).
template <typename Visit>
void ForEachDraw(const kernels::ChaChaKey& key, int64_t count, Visit visit) {
  constexpr int64_t kDrawsPerBlock = 8;
  std::array<uint32_t, 2 * 512> words;
  constexpr int64_t kDraws = words.size() / 2;
  for (int64_t first = 0; first < count; first += kDraws) {
    kernels::ChaChaWords(key, kInclusionStream, static_cast<uint64_t>(first / kDrawsPerBlock),
                         absl::MakeSpan(words));
    for (int64_t i = first; i < std::min(count, first + kDraws); ++i) {
      const uint64_t low = words[2 * (i - first)];
      const uint64_t high = words[2 * (i - first) + 1];
      visit(i, high << 32 | low);
    }
  }
}

// A uniform random subset of `size`: the first steps of a Fisher-Yates shuffle.
void KeepRandomSubset(const kernels::ChaChaKey& key, int64_t size, std::vector<int64_t>& ids) {
  std::vector<uint32_t> words(2 * size);
  kernels::ChaChaWords(key, kOverflowStream, 0, absl::MakeSpan(words));
  for (int64_t i = 0; i < size; ++i) {
    // 64 bits scaled to the range: an outcome is off its probability by at most (range) 2^-64 of
    // it.
    const uint64_t high = uint64_t{words[2 * i]} << 32 | words[2 * i + 1];
    const uint64_t rest = static_cast<uint64_t>(ids.size() - i);
    const absl::uint128 scaled = absl::uint128(high) * rest;
    std::swap(ids[i], ids[i + static_cast<int64_t>(absl::Uint128High64(scaled))]);
  }
  ids.resize(size);
  std::sort(ids.begin(), ids.end());
}

}  // namespace

absl::StatusOr<PoissonSampler> PoissonSampler::Create(Options options) {
  if (!(options.sampling_rate >= 0 && options.sampling_rate <= 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("sampling_rate must be in [0, 1], but is ", options.sampling_rate));
  }
  if (options.batch_cap < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("batch_cap must be at least 1, but is ", options.batch_cap));
  }
  if (options.records < 0 || options.records > options.max_records) {
    return absl::InvalidArgumentError(absl::StrCat("the dataset must have at most ",
                                                   options.max_records, " records (max_records)"));
  }
  return PoissonSampler(std::move(options));
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
  ForEachDraw(key, options_.records, [&](int64_t record, uint64_t draw) {
    if (takes_all || draw < threshold) batch.ids.push_back(record);
  });
  if (static_cast<int64_t>(batch.ids.size()) > options_.batch_cap) {
    KeepRandomSubset(key, options_.batch_cap, batch.ids);
  }
  return batch;
}

}  // namespace sotto::dp
