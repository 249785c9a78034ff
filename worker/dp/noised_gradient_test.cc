#include "worker/dp/noised_gradient.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>
#include <vector>

#include "ATen/Parallel.h"
#include "ATen/ops/from_blob.h"
#include "common/base/status_matchers.h"
#include "common/crypto/hkdf.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/chacha_normals.h"
#include "kernels/sum_of_squares.h"
#include "worker/dp/clipped_sum.h"
#include "worker/dp/clipped_sum_passkey.h"
#include "worker/dp/mechanism.h"
#include "worker/dp/testing/sensitivity.h"
#include "worker/grant/testing/step_grants.h"

namespace sotto::dp {
namespace {

constexpr double kBatch = 16;
constexpr double kStddev = 0.75;
constexpr int64_t kStep = 3;

// Sums of three shards, with padding between and behind the parameters: a long one that is many
// pieces, one whose parts are shorter than a group of normals, and an empty one.
class Sums {
 public:
  Sums() : values_{std::vector<float>(200'000, 0.f), std::vector<float>(1'000, 0.f), {}} {
    for (size_t shard = 0; shard < values_.size(); ++shard) {
      for (const Interval& used : Used(shard)) {
        for (int64_t i = used.begin; i < used.end; ++i) {
          values_[shard][i] = std::sin(static_cast<float>(i) + 7.f * static_cast<float>(shard));
        }
      }
    }
  }

  static std::vector<Interval> Used(size_t shard) {
    if (shard == 0) return {{0, 70'001}, {70'016, 70'100}, {70'112, 199'990}};
    if (shard == 1) return {{32, 33}, {64, 400}, {416, 990}};
    return {};
  }
  static int64_t Base(size_t shard) { return 96 + (static_cast<int64_t>(shard) << 20); }

  std::vector<ShardSlice> Slices() {
    std::vector<ShardSlice> slices;
    for (size_t shard = 0; shard < values_.size(); ++shard) {
      const int64_t size = static_cast<int64_t>(values_[shard].size());
      slices.push_back({.values = at::from_blob(values_[shard].data(), {size}, at::kFloat),
                        .canonical_base = Base(shard),
                        .used = Used(shard)});
    }
    return slices;
  }
  std::vector<std::vector<float>>& values() { return values_; }

 private:
  std::vector<std::vector<float>> values_;
};

std::unique_ptr<Mechanism> MakeMechanism() {
  return *Mechanism::Create({
      .secret = crypto::Secret::FromPublicSeed(5),
      .noise = {{.gradient_multiplier = kStddev}},
      .max_loss = 1,
      .expected_batch_size = kBatch,
      .parameters = 201'000,
      .sum_over_ranks = [](absl::Span<double>) { return absl::OkStatus(); },
  });
}

NoisedGradient Release(Mechanism& mechanism, Sums& sums) {
  ClippedSum sum(ClippedSumPasskey::Vouch(), sums.Slices(), PrivateStatistics(),
                 SensitivityOfFlatClipping(1));
  return *mechanism.Release(std::move(sum), grant::GrantStep(kStep));
}

// What separate passes give: the noise of every parameter, then the norm of the whole.
struct Separate {
  std::vector<std::vector<float>> values;
  double norm_sq = 0;
};

Separate NoisedInSeparatePasses() {
  const kernels::ChaChaKey key = kernels::ChaChaKey::FromBytes(
      crypto::DeriveKey(crypto::Secret::FromPublicSeed(5), "gradient noise", kStep));
  Sums sums;
  Separate result{.values = std::move(sums.values())};
  for (size_t shard = 0; shard < result.values.size(); ++shard) {
    double norm_sq = 0;
    for (const Interval& used : Sums::Used(shard)) {
      float* values = result.values[shard].data();
      kernels::AddNoise(key, Sums::Base(shard) + used.begin, kStddev,
                        absl::MakeSpan(values + used.begin, used.end - used.begin));
      constexpr int64_t kAddedAtOnce = 1 << 14;
      for (int64_t begin = used.begin; begin < used.end; begin += kAddedAtOnce) {
        const int64_t size = std::min(kAddedAtOnce, used.end - begin);
        norm_sq += kernels::SumOfSquares64(absl::MakeConstSpan(values + begin, size));
      }
    }
    result.norm_sq += norm_sq;
  }
  return result;
}

void Ignore(const NoisedGradient::Piece&) {}

class Threads {
 public:
  explicit Threads(int threads) : before_(at::get_num_threads()) { at::set_num_threads(threads); }
  ~Threads() { at::set_num_threads(before_); }

 private:
  const int before_;
};

// Bit for bit, the norm too, whatever the number of threads.
TEST(NoisedGradientTest, OnePassGivesWhatSeparatePassesGive) {
  const Separate expected = NoisedInSeparatePasses();
  for (const int threads : {1, 2, 3, 7}) {
    const Threads guard(threads);
    Sums sums;
    const std::unique_ptr<Mechanism> mechanism = MakeMechanism();
    const NoisedGradient gradient = Release(*mechanism, sums);
    gradient.ForEachPiece(Ignore);
    EXPECT_TRUE(sums.values() == expected.values) << threads << " threads";
    EXPECT_EQ(mechanism->Report(gradient)->noised_gradient_norm(),
              std::sqrt(expected.norm_sq) / kBatch);
  }
}

// (The twin that adds noise in every pass fails here.)
TEST(NoisedGradientTest, NoiseIsAddedOnceHoweverOftenItIsAskedFor) {
  const Separate expected = NoisedInSeparatePasses();
  Sums sums;
  const std::unique_ptr<Mechanism> mechanism = MakeMechanism();
  NoisedGradient first = Release(*mechanism, sums);
  first.ForEachPiece(Ignore);
  const NoisedGradient gradient = std::move(first);
  for (int i = 0; i < 2; ++i) {
    gradient.ForEachPiece(Ignore);
    EXPECT_EQ(gradient.sums().size(), 3);
    EXPECT_EQ(mechanism->Report(gradient)->noised_gradient_norm(),
              std::sqrt(expected.norm_sq) / kBatch);
  }
  EXPECT_TRUE(sums.values() == expected.values);
}

// The values as a visitor sees them, 0 where it sees none, and how often it saw each.
struct Seen {
  std::vector<std::vector<float>> values;
  std::vector<std::vector<int>> times;
};

Seen Visit(const NoisedGradient& gradient) {
  Seen seen;
  for (size_t shard = 0; shard < gradient.num_shards(); ++shard) {
    seen.values.emplace_back(gradient.shard_elements(shard), 0.f);
    seen.times.emplace_back(gradient.shard_elements(shard), 0);
  }
  gradient.ForEachPiece([&seen](const NoisedGradient::Piece& piece) {
    for (size_t i = 0; i < piece.sums.size(); ++i) {
      seen.values[piece.shard][piece.begin + i] = piece.sums[i];
      ++seen.times[piece.shard][piece.begin + i];
    }
  });
  return seen;
}

// In the pass that adds the noise no visitor is shown an element before its noise. (The twin that
// shows pieces first fails here.)
TEST(NoisedGradientTest, VisitorsSeeEveryParameterOnceWithItsNoise) {
  const Separate expected = NoisedInSeparatePasses();
  for (const int threads : {1, 3}) {
    const Threads guard(threads);
    Sums sums;
    const std::unique_ptr<Mechanism> mechanism = MakeMechanism();
    const NoisedGradient gradient = Release(*mechanism, sums);
    const Seen seen = Visit(gradient);
    EXPECT_TRUE(seen.values == expected.values) << threads << " threads";
    for (size_t shard = 0; shard < seen.times.size(); ++shard) {
      std::vector<int> times(seen.times[shard].size(), 0);
      for (const Interval& used : Sums::Used(shard)) {
        std::fill(times.begin() + used.begin, times.begin() + used.end, 1);
      }
      EXPECT_TRUE(seen.times[shard] == times) << "shard " << shard;
    }
  }
}

// (The twin that leaves a piece without noise fails here.)
TEST(NoisedGradientTest, WhatNobodyUsedIsNoisedByTheReport) {
  const Separate expected = NoisedInSeparatePasses();
  Sums sums;
  const std::unique_ptr<Mechanism> mechanism = MakeMechanism();
  const NoisedGradient gradient = Release(*mechanism, sums);
  EXPECT_EQ(mechanism->Report(gradient)->noised_gradient_norm(),
            std::sqrt(expected.norm_sq) / kBatch);
  EXPECT_TRUE(sums.values() == expected.values);
}

TEST(NoisedGradientDeathTest, AVisitorCannotAskForSumsThatHaveNoNoiseYet) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  Sums sums;
  const std::unique_ptr<Mechanism> mechanism = MakeMechanism();
  const NoisedGradient gradient = Release(*mechanism, sums);
  EXPECT_DEATH(gradient.ForEachPiece([&](const NoisedGradient::Piece&) { gradient.sums(); }),
               "asked for while it gets its noise");
}

}  // namespace
}  // namespace sotto::dp
