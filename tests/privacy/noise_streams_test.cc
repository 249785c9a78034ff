// No block of noise is used twice: over steps, ranks and attempts, on the layout of a real model.
#include <algorithm>
#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "ATen/ops/zeros.h"
#include "common/crypto/random_bytes.h"
#include "common/layout/flat_layout.h"
#include "common/layout/gpt2_description.h"
#include "gtest/gtest.h"
#include "worker/dp/clipped_sum.h"
#include "worker/dp/clipped_sum_passkey.h"
#include "worker/dp/mechanism.h"
#include "worker/dp/testing/sensitivity.h"
#include "worker/grant/testing/step_grants.h"

namespace sotto {
namespace {

layout::ModelDescription MakeModel() {
  return *layout::MakeGpt2Description({.vocabulary_size = 61,
                                       .width = 24,
                                       .layers = 3,
                                       .heads = 2,
                                       .max_length = 10,
                                       .tied_head = true,
                                       .layer_norm_epsilon = 1e-5});
}

std::vector<dp::ShardSlice> ZeroSlices(const layout::FlatLayout& layout, int rank) {
  std::vector<dp::ShardSlice> slices;
  for (int unit = 0; unit < layout.num_units(); ++unit) {
    dp::ShardSlice slice{
        .values = at::zeros({layout.unit(unit).shard_elements}),
        .canonical_base = layout.unit(unit).canonical_base + layout.Shard(unit, rank).begin};
    for (const layout::Interval& used : layout.UsedIntervals(unit, rank)) {
      slice.used.push_back({used.begin, used.end});
    }
    slices.push_back(std::move(slice));
  }
  return slices;
}

// Noise alone, of one rank at one step of one attempt.
std::vector<dp::ShardSlice> Noise(const layout::FlatLayout& layout, int rank, int64_t step,
                                  const std::string& secret) {
  auto mechanism = *dp::Mechanism::Create({
      .secret = crypto::Secret(secret),
      .noise = {{.gradient_multiplier = 1}},
      .max_loss = 1,
      .expected_batch_size = 1,
      .sum_over_ranks = [](absl::Span<double>) { return absl::OkStatus(); },
  });
  dp::ClippedSum sum(dp::ClippedSumPasskey::Vouch(), ZeroSlices(layout, rank),
                     dp::PrivateStatistics(), dp::SensitivityOfFlatClipping(1));
  const auto noised = mechanism->Release(std::move(sum), grant::GrantStep(step));
  EXPECT_TRUE(noised.ok());
  const absl::Span<const dp::ShardSlice> sums = noised->sums();
  return {sums.begin(), sums.end()};
}

// Eight neighbours: 256 bits, of which noise on its grid has about 22 each; equal by chance: far
// below 1e-30.
constexpr int64_t kBlock = 8;

// Adds the whole blocks of the used elements; returns how many there were.
int64_t AddBlocks(const std::vector<dp::ShardSlice>& slices, std::set<std::string>& blocks) {
  int64_t count = 0;
  for (const dp::ShardSlice& slice : slices) {
    const float* values = slice.values.data_ptr<float>();
    for (const dp::Interval& used : slice.used) {
      for (int64_t i = used.begin; i + kBlock <= used.end; i += kBlock, ++count) {
        blocks.insert(
            std::string(reinterpret_cast<const char*>(values + i), kBlock * sizeof(float)));
      }
    }
  }
  return count;
}

TEST(NoiseStreamsTest, NoBlockRepeatsOverStepsRanksAndAttempts) {
  const layout::FlatLayout layout = *layout::FlatLayout::Create(MakeModel(), /*world_size=*/4);
  std::set<std::string> blocks;
  int64_t count = 0;
  for (int attempt = 0; attempt < 3; ++attempt) {
    const std::string secret = crypto::RandomBytes(32);
    for (int64_t step = 0; step < 4; ++step) {
      for (int rank = 0; rank < 4; ++rank) {
        count += AddBlocks(Noise(layout, rank, step, secret), blocks);
      }
    }
  }
  EXPECT_GT(count, 12 * 20'000 / kBlock);
  EXPECT_EQ(static_cast<int64_t>(blocks.size()), count);
}

// The same secret and step give the same noise again: the test above can fail.
TEST(NoiseStreamsTest, ARepeatedSecretAndStepIsSeen) {
  const layout::FlatLayout layout = *layout::FlatLayout::Create(MakeModel(), /*world_size=*/1);
  std::set<std::string> blocks;
  const std::string secret = crypto::RandomBytes(32);
  int64_t count = AddBlocks(Noise(layout, 0, 5, secret), blocks);
  count += AddBlocks(Noise(layout, 0, 5, secret), blocks);
  EXPECT_EQ(static_cast<int64_t>(blocks.size()), count / 2);
}

// All elements of a unit in canonical order, whoever owns them: equal at every world size, and zero
// in the padding.
std::vector<float> Whole(int world_size, int unit, const std::string& secret) {
  const layout::FlatLayout layout = *layout::FlatLayout::Create(MakeModel(), world_size);
  std::vector<float> whole;
  for (int rank = 0; rank < world_size; ++rank) {
    const dp::ShardSlice slice = Noise(layout, rank, /*step=*/1, secret)[unit];
    const float* values = slice.values.data_ptr<float>();
    whole.insert(whole.end(), values, values + slice.values.numel());
  }
  for (size_t i = layout.unit(unit).aligned_elements; i < whole.size(); ++i) EXPECT_EQ(whole[i], 0);
  whole.resize(layout.unit(unit).aligned_elements);
  return whole;
}

TEST(NoiseStreamsTest, NoiseIsTheSameAtEveryWorldSize) {
  const std::string secret = crypto::RandomBytes(32);
  for (int unit : {0, 1, 3}) {
    const std::vector<float> one = Whole(1, unit, secret);
    for (int world_size : {2, 3, 8}) EXPECT_EQ(Whole(world_size, unit, secret), one) << world_size;
  }
}

}  // namespace
}  // namespace sotto
