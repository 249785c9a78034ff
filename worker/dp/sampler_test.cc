// Samplers whose batches hide nobody: shuffled epochs and full batches.
#include "worker/dp/sampler.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "common/base/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "worker/dp/full_batch_sampler.h"
#include "worker/dp/shuffled_sampler.h"
#include "worker/grant/testing/step_grants.h"

namespace sotto::dp {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

ShuffledSampler::Options MakeOptions(int64_t max_records, int64_t batch_places) {
  return {.order_key = "job-1",
          .max_records = max_records,
          .records = max_records,
          .batch_places = batch_places,
          .batch_cap = max_records};
}

std::unique_ptr<Sampler> MakeShuffled(const ShuffledSampler::Options& options) {
  return *ShuffledSampler::Create(options);
}

std::vector<int64_t> Draw(const std::unique_ptr<Sampler>& sampler, int64_t step) {
  return sampler->Sample(grant::GrantStep(step)).ids;
}

// 103 records in batches of 11: nine of them, and one of four.
TEST(ShuffledSamplerTest, ARecordIsInExactlyOneBatchOfAnEpoch) {
  const std::unique_ptr<Sampler> sampler = MakeShuffled(MakeOptions(103, 11));
  for (int epoch = 0; epoch < 3; ++epoch) {
    std::map<int64_t, int> uses;
    for (int step = 10 * epoch; step < 10 * (epoch + 1); ++step) {
      const std::vector<int64_t> ids = Draw(sampler, step);
      EXPECT_EQ(ids.size(), step % 10 == 9 ? 4 : 11);
      EXPECT_TRUE(std::is_sorted(ids.begin(), ids.end()));
      for (int64_t id : ids) ++uses[id];
    }
    EXPECT_EQ(uses.size(), 103);
    for (const auto& [id, count] : uses) EXPECT_EQ(count, 1) << "record " << id;
  }
}

// An attempt that goes on in the middle of an epoch must not show a record twice: its order is not
// keyed by the attempt. Steps may come in any order.
TEST(ShuffledSamplerTest, AnotherAttemptGoesOnInTheSameOrder) {
  const std::unique_ptr<Sampler> first = MakeShuffled(MakeOptions(100, 15));
  const std::unique_ptr<Sampler> second = MakeShuffled(MakeOptions(100, 15));
  std::set<int64_t> seen;
  for (int step : {0, 1, 2}) {
    for (int64_t id : Draw(first, step)) EXPECT_TRUE(seen.insert(id).second);
  }
  for (int step : {6, 3, 5, 4}) {
    for (int64_t id : Draw(second, step)) EXPECT_TRUE(seen.insert(id).second);
  }
  EXPECT_EQ(seen.size(), 100);
}

TEST(ShuffledSamplerTest, EpochsAndJobsHaveTheirOwnOrders) {
  const std::unique_ptr<Sampler> sampler = MakeShuffled(MakeOptions(100, 25));
  ShuffledSampler::Options other = MakeOptions(100, 25);
  other.order_key = "job-2";
  EXPECT_NE(Draw(sampler, 0), Draw(sampler, 4));
  EXPECT_NE(Draw(sampler, 0), Draw(MakeShuffled(other), 0));
}

// A record that the file does not hold leaves a gap: the others stay where they are, so a batch
// tells nothing of how many records there are.
TEST(ShuffledSamplerTest, ARecordsBatchDoesNotDependOnTheOthers) {
  const std::unique_ptr<Sampler> all = MakeShuffled(MakeOptions(100, 25));
  ShuffledSampler::Options options = MakeOptions(100, 25);
  options.records = 61;
  const std::unique_ptr<Sampler> fewer = MakeShuffled(options);
  for (int step = 0; step < 4; ++step) {
    std::vector<int64_t> expected = Draw(all, step);
    std::erase_if(expected, [](int64_t id) { return id >= 61; });
    EXPECT_EQ(Draw(fewer, step), expected);
  }
}

// Each of 12 records is in the first of 3 batches in a third of the epochs: 3000 of them, 6
// standard deviations, 12 records: 2e-8.
TEST(ShuffledSamplerTest, EveryRecordIsEquallyOftenInEveryBatch) {
  const std::unique_ptr<Sampler> sampler = MakeShuffled(MakeOptions(12, 4));
  std::vector<int> counts(12);
  for (int epoch = 0; epoch < 3000; ++epoch) {
    for (int64_t id : Draw(sampler, 3 * epoch)) ++counts[id];
  }
  for (int count : counts) EXPECT_NEAR(count, 1000, 6 * std::sqrt(3000 * 2 / 9.0));
}

TEST(ShuffledSamplerTest, BadOptionsAreNamed) {
  auto create = [](int64_t batch_places, int64_t records, int64_t cap) {
    ShuffledSampler::Options options = MakeOptions(10, batch_places);
    options.records = records;
    options.batch_cap = cap;
    return ShuffledSampler::Create(options).status();
  };
  EXPECT_OK(create(4, 10, 4));
  EXPECT_THAT(create(4, 10, 3), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("cap")));
  EXPECT_THAT(create(0, 10, 4), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("places")));
  EXPECT_THAT(create(11, 10, 20),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("places")));
  EXPECT_THAT(create(4, 11, 4), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("10")));
}

TEST(FullBatchSamplerTest, EveryStepUsesEveryRecord) {
  const std::unique_ptr<Sampler> sampler =
      *FullBatchSampler::Create({.max_records = 5, .records = 4, .batch_cap = 5});
  EXPECT_THAT(Draw(sampler, 0), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(Draw(sampler, 9), ElementsAre(0, 1, 2, 3));
}

TEST(FullBatchSamplerTest, BadOptionsAreNamed) {
  EXPECT_THAT(FullBatchSampler::Create({.max_records = 5, .records = 6, .batch_cap = 6}).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("5")));
  EXPECT_THAT(FullBatchSampler::Create({.max_records = 5, .records = 4, .batch_cap = 4}).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("cap")));
}

}  // namespace
}  // namespace sotto::dp
