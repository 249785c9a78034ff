#include "worker/dp/poisson_sampler.h"

#include <cmath>
#include <set>

#include "common/base/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "worker/grant/testing/step_grants.h"

namespace sotto::dp {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::IsSubsetOf;

std::unique_ptr<Sampler> MakeSampler(int64_t records, double rate, int64_t cap, uint64_t seed = 1) {
  return *PoissonSampler::Create({.secret = crypto::Secret::FromPublicSeed(seed),
                                  .max_records = records,
                                  .records = records,
                                  .sampling_rate = rate,
                                  .batch_cap = cap});
}

std::vector<int64_t> Draw(const std::unique_ptr<Sampler>& sampler, int64_t step) {
  return sampler->Sample(grant::GrantStep(step)).ids;
}

// 4000 steps over 100 records at q = 0.1. Of a Poisson sampler, the size's variance is 100 q (1 -
// q) = 9; of sampling without replacement it is 0. The sample variance has standard deviation 9
// sqrt(2 / 4000) = 0.2: 5 of them, 6e-7.
TEST(PoissonSamplerTest, BatchSizeHasTheBinomialsMeanAndVariance) {
  const std::unique_ptr<Sampler> sampler = MakeSampler(100, 0.1, 100);
  constexpr int kSteps = 4000;
  double sum = 0;
  double sum_sq = 0;
  for (int step = 0; step < kSteps; ++step) {
    const double size = static_cast<double>(Draw(sampler, step).size());
    sum += size;
    sum_sq += size * size;
  }
  const double mean = sum / kSteps;
  EXPECT_NEAR(mean, 10, 5 * 3 / std::sqrt(kSteps));
  EXPECT_NEAR(sum_sq / kSteps - mean * mean, 9, 5 * 0.21);
}

// Each record's count over 4000 steps is binomial: 6 standard deviations, 100 records: 2e-7. Pairs
// are independent: the count of joint inclusions of neighbours as well.
TEST(PoissonSamplerTest, RecordsAreDrawnEquallyOftenAndIndependently) {
  const std::unique_ptr<Sampler> sampler = MakeSampler(100, 0.1, 100);
  constexpr int kSteps = 4000;
  std::vector<int> counts(100);
  int joint = 0;
  for (int step = 0; step < kSteps; ++step) {
    const std::vector<int64_t> ids = Draw(sampler, step);
    for (size_t i = 0; i < ids.size(); ++i) {
      ++counts[ids[i]];
      if (i > 0 && ids[i] == ids[i - 1] + 1) ++joint;
    }
  }
  for (int count : counts) EXPECT_NEAR(count, 400, 6 * std::sqrt(4000 * 0.09));
  const double pairs = 99.0 * kSteps;
  EXPECT_NEAR(joint, pairs * 0.01, 6 * std::sqrt(pairs * 0.01 * 1.4));
}

TEST(PoissonSamplerTest, SameSecretAndStepDrawTheSameBatchOnEveryRank) {
  EXPECT_EQ(Draw(MakeSampler(1000, 0.3, 1000), 5), Draw(MakeSampler(1000, 0.3, 1000), 5));
  EXPECT_NE(Draw(MakeSampler(1000, 0.3, 1000), 5), Draw(MakeSampler(1000, 0.3, 1000), 6));
  EXPECT_NE(Draw(MakeSampler(1000, 0.3, 1000), 5), Draw(MakeSampler(1000, 0.3, 1000, 2), 5));
}

// Adding records at the end changes nothing for the others.
TEST(PoissonSamplerTest, InclusionOfARecordDoesNotDependOnTheOthers) {
  const std::vector<int64_t> all = Draw(MakeSampler(5000, 0.2, 5000), 3);
  const std::vector<int64_t> fewer = Draw(MakeSampler(4321, 0.2, 5000), 3);
  EXPECT_THAT(fewer, IsSubsetOf(all));
  for (int64_t id : all) {
    if (id < 4321) {
      EXPECT_THAT(fewer, ::testing::Contains(id));
    }
  }
}

TEST(PoissonSamplerTest, OverflowKeepsASubsetOfTheCap) {
  const std::vector<int64_t> all = Draw(MakeSampler(1000, 0.5, 1000), 0);
  const std::vector<int64_t> capped = Draw(MakeSampler(1000, 0.5, 100), 0);
  EXPECT_EQ(capped.size(), 100);
  EXPECT_EQ(std::set<int64_t>(capped.begin(), capped.end()).size(), 100);
  EXPECT_THAT(capped, IsSubsetOf(all));
  EXPECT_TRUE(std::is_sorted(capped.begin(), capped.end()));
}

// Each of 10 records is kept with probability 0.3: count over 4000 steps within 6 standard
// deviations.
TEST(PoissonSamplerTest, OverflowPrefersNoRecord) {
  const std::unique_ptr<Sampler> sampler = MakeSampler(10, 1.0, 3);
  std::vector<int> counts(10);
  for (int step = 0; step < 4000; ++step) {
    for (int64_t id : Draw(sampler, step)) ++counts[id];
  }
  for (int count : counts) EXPECT_NEAR(count, 1200, 6 * std::sqrt(4000 * 0.21));
}

TEST(PoissonSamplerTest, ExtremesOfTheRate) {
  EXPECT_THAT(Draw(MakeSampler(100, 0, 100), 0), IsEmpty());
  EXPECT_EQ(Draw(MakeSampler(100, 1, 100), 0).size(), 100);
  EXPECT_THAT(Draw(MakeSampler(0, 0.5, 100), 0), IsEmpty());
}

TEST(PoissonSamplerTest, BadOptionsAreNamed) {
  auto create = [](double rate, int64_t cap, int64_t records) {
    return PoissonSampler::Create({.secret = crypto::Secret::FromPublicSeed(1),
                                   .max_records = 10,
                                   .records = records,
                                   .sampling_rate = rate,
                                   .batch_cap = cap})
        .status();
  };
  EXPECT_OK(create(0.5, 1, 10));
  EXPECT_THAT(create(1.5, 1, 10), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("rate")));
  EXPECT_THAT(create(NAN, 1, 10), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("rate")));
  EXPECT_THAT(create(0.5, 0, 10), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("cap")));
  EXPECT_THAT(create(0.5, 1, 11), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("10")));
}

}  // namespace
}  // namespace sotto::dp
