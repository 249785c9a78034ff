#include "server/accounting/compositions.h"

#include <algorithm>
#include <map>
#include <random>

#include "common/base/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sotto::accounting {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Compositions Make(std::vector<int64_t> first_steps, int64_t steps_per_epoch) {
  absl::StatusOr<Compositions> made = Compositions::Create(std::move(first_steps), steps_per_epoch);
  EXPECT_OK(made);
  return *made;
}

TEST(CompositionsTest, EveryStepIsOneWithoutEpochs) {
  EXPECT_THAT(Compositions().Count(3, 10, 0), ElementsAre(7));
  EXPECT_THAT(Compositions().Count(3, 10, 8), ElementsAre(7));  // re-run steps are paid again
  EXPECT_THAT(Compositions().Count(10, 10, 0), ElementsAre(0));
}

TEST(CompositionsTest, StepsGoToTheSegmentTheyLieIn) {
  const Compositions compositions = Make({0, 4, 9}, 1);
  EXPECT_THAT(compositions.Count(0, 12, 0), ElementsAre(4, 5, 3));
  EXPECT_THAT(compositions.Count(3, 5, 0), ElementsAre(1, 1, 0));
  EXPECT_EQ(compositions.SegmentOf(3), 0u);
  EXPECT_EQ(compositions.SegmentOf(4), 1u);
  EXPECT_EQ(compositions.SegmentOf(1000), 2u);
}

TEST(CompositionsTest, AnEpochIsDueWithItsFirstStep) {
  const Compositions compositions = Make({0, 20}, 10);
  EXPECT_THAT(compositions.Count(0, 1, 0), ElementsAre(1, 0));
  EXPECT_THAT(compositions.Count(0, 10, 0), ElementsAre(1, 0));
  EXPECT_THAT(compositions.Count(0, 11, 0), ElementsAre(2, 0));
  EXPECT_THAT(compositions.Count(0, 40, 0), ElementsAre(2, 2));
}

TEST(CompositionsTest, GoingOnInsideAnEpochCostsNothingButRunningAStepAgainDoes) {
  const Compositions compositions = Make({0}, 10);
  EXPECT_THAT(compositions.Count(14, 20, 14), ElementsAre(0));
  EXPECT_THAT(compositions.Count(14, 21, 14), ElementsAre(1));
  EXPECT_THAT(compositions.Count(13, 20, 14), ElementsAre(1));
  // Nobody has entered this epoch.
  EXPECT_THAT(compositions.Count(14, 20, 10), ElementsAre(1));
  EXPECT_THAT(compositions.Count(14, 20, 0), ElementsAre(1));
}

TEST(CompositionsTest, RefusesSegmentsThatCutAnEpoch) {
  EXPECT_THAT(Compositions::Create({0, 15}, 10),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("inside an epoch of 10")));
  EXPECT_THAT(Compositions::Create({1}, 1), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(Compositions::Create({0, 5, 5}, 1), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(Compositions::Create({0}, 0), StatusIs(absl::StatusCode::kInvalidArgument));
}

// The guarantee, over random lives of a job: attempts begin anywhere that was released, or where
// the last one ended.
TEST(CompositionsTest, AnEpochHasAtLeastAsManyCompositionsAsItsBusiestStepHasRuns) {
  std::mt19937 random(11);
  int tight = 0;
  for (int life = 0; life < 500; ++life) {
    const int64_t epoch = 1 + random() % 7;
    const Compositions compositions = Make({0}, epoch);
    std::map<int64_t, int> runs;        // by step
    std::map<int64_t, int64_t> counts;  // compositions by epoch
    int64_t released_end = 0;
    for (int attempt = 0; attempt < 6; ++attempt) {
      const int64_t first = random() % 2 ? released_end : random() % (released_end + 1);
      const int64_t end = first + random() % 20;
      for (int64_t step = first; step < end; ++step) {
        ++runs[step];
        // What this step adds to its attempt's count belongs to its epoch.
        counts[step / epoch] += compositions.Count(first, step + 1, released_end)[0] -
                                compositions.Count(first, step, released_end)[0];
      }
      released_end = std::max(released_end, end);
    }
    for (const auto& [step, times] : runs) {
      ASSERT_GE(counts[step / epoch], times) << "step " << step << " of epochs of " << epoch;
      tight += counts[step / epoch] == times;
    }
  }
  EXPECT_GT(tight, 1000);
}

}  // namespace
}  // namespace sotto::accounting
