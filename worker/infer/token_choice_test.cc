#include "worker/infer/token_choice.h"

#include <cmath>
#include <cstdint>
#include <set>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sotto::infer {
namespace {

constexpr uint64_t kSeed = 20261121;
constexpr int64_t kDraws = 200000;

// How often each token is chosen in kDraws draws of one seed.
std::vector<int64_t> Count(const std::vector<float>& logits, const ChoiceOptions& options) {
  std::vector<int64_t> counts(logits.size());
  for (int64_t i = 0; i < kDraws; ++i) {
    ++counts[ChooseToken(logits, options, DrawOf(kSeed, /*text=*/i % 7, /*position=*/i))];
  }
  return counts;
}

// Frequencies within 5 standard deviations of these probabilities; exactly none where it is zero.
void ExpectFrequencies(const std::vector<int64_t>& counts, const std::vector<double>& expected) {
  SCOPED_TRACE(testing::Message() << "seed " << kSeed);
  for (size_t token = 0; token < counts.size(); ++token) {
    const double p = expected[token];
    EXPECT_NEAR(counts[token], p * kDraws, 5 * std::sqrt(p * (1 - p) * kDraws)) << token;
  }
}

// Probabilities 0.1, 0.4, 0.2, 0.3.
std::vector<float> Logits() {
  return {std::log(0.1f), std::log(0.4f), std::log(0.2f), std::log(0.3f)};
}

TEST(TokenChoiceTest, TemperatureOneDrawsFromTheSoftmax) {
  ExpectFrequencies(Count(Logits(), {.temperature = 1}), {0.1, 0.4, 0.2, 0.3});
}

TEST(TokenChoiceTest, TemperatureTakesProbabilitiesToAPower) {
  // Squares of the probabilities, over their sum 0.3.
  ExpectFrequencies(Count(Logits(), {.temperature = 0.5}),
                    {0.01 / 0.3, 0.16 / 0.3, 0.04 / 0.3, 0.09 / 0.3});
}

TEST(TokenChoiceTest, TopKKeepsTheLikeliest) {
  ExpectFrequencies(Count(Logits(), {.temperature = 1, .top_k = 2}), {0, 0.4 / 0.7, 0, 0.3 / 0.7});
}

TEST(TokenChoiceTest, TopPKeepsTheShortestPrefixThatReachesIt) {
  ExpectFrequencies(Count(Logits(), {.temperature = 1, .top_p = 0.75}),
                    {0, 0.4 / 0.9, 0.2 / 0.9, 0.3 / 0.9});
  ExpectFrequencies(Count(Logits(), {.temperature = 1, .top_p = 0.39}), {0, 1, 0, 0});
}

// After top_k the probabilities are 4/7 and 3/7.
TEST(TokenChoiceTest, TopPIsOfWhatTopKLeft) {
  ExpectFrequencies(Count(Logits(), {.temperature = 1, .top_k = 2, .top_p = 0.5}), {0, 1, 0, 0});
  ExpectFrequencies(Count(Logits(), {.temperature = 1, .top_k = 2, .top_p = 0.6}),
                    {0, 0.4 / 0.7, 0, 0.3 / 0.7});
}

TEST(TokenChoiceTest, GreedyTakesTheFirstOfEquals) {
  EXPECT_EQ(ChooseToken(std::vector<float>{1, 3, 3, 2}, {}, 0.99), 1);
}

TEST(TokenChoiceTest, TheWholeIntervalFallsOnTokens) {
  const ChoiceOptions options{.temperature = 1};
  EXPECT_EQ(ChooseToken(Logits(), options, 0), 1);
  EXPECT_EQ(ChooseToken(Logits(), options, 0x1.fffffffffffffp-1), 0);
}

TEST(TokenChoiceTest, DrawsDependOnEveryArgument) {
  std::set<double> draws;
  for (uint64_t seed = 0; seed < 10; ++seed) {
    for (int64_t text = 0; text < 10; ++text) {
      for (int64_t position = 0; position < 10; ++position) {
        const double draw = DrawOf(seed, text, position);
        EXPECT_GE(draw, 0);
        EXPECT_LT(draw, 1);
        draws.insert(draw);
      }
    }
  }
  EXPECT_EQ(draws.size(), 1000);
}

}  // namespace
}  // namespace sotto::infer
