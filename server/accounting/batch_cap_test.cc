#include "server/accounting/batch_cap.h"

#include <cmath>

#include "common/base/status_matchers.h"
#include "gtest/gtest.h"

namespace sotto::accounting {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// Sums of the exact masses with 60 digits (mpmath 1.x, 2026-11-21).
TEST(LogBinomialTailTest, EqualsSixtyDigitSums) {
  struct Row {
    int64_t trials;
    double probability;
    int64_t threshold;
    double log_tail;
  };
  for (const Row& row :
       {Row{10, 0.5, 7, -2.9061201148643039}, Row{15000, 0.0341, 705, -37.265074424264864},
        Row{60000, 0.004, 336, -20.08015755752967},
        Row{1000000000, 1e-6, 1300, -44.387721777263945},
        Row{1000000000, 0.001, 1006000, -20.722519043915183}}) {
    const double tail = LogBinomialTail(row.trials, row.probability, row.threshold);
    EXPECT_GE(tail, row.log_tail) << row.trials;
    EXPECT_LE(tail, row.log_tail + 2e-6) << row.trials;
  }
}

TEST(LogBinomialTailTest, IsImpossibleBeyondAllRecordsAndABoundBelowTheMean) {
  EXPECT_EQ(LogBinomialTail(10, 0.5, 10), -std::numeric_limits<double>::infinity());
  EXPECT_EQ(LogBinomialTail(10, 0.5, 2), 0);
  EXPECT_EQ(LogBinomialTail(10, 1, 9), 0);
}

TEST(ChooseBatchCapTest, IsTheSmallestCapWithinItsShareOfDelta) {
  const BatchCapOptions options = {15000, 512 / 15000.0, 300, 8, 1e-6};
  ASSERT_OK_AND_ASSIGN(const BatchCap cap, ChooseBatchCap(options));
  const double limit = 1e-4 * 1e-6;
  EXPECT_LE(300 * cap.step_truncation_delta, limit);
  const double one_less =
      300 * (1 + std::exp(8)) * std::exp(LogBinomialTail(15000, 512 / 15000.0, cap.examples - 1));
  EXPECT_GT(one_less, limit);
  EXPECT_NEAR(cap.step_truncation_delta,
              (1 + std::exp(8)) * std::exp(LogBinomialTail(15000, 512 / 15000.0, cap.examples)),
              1e-9 * cap.step_truncation_delta);
}

TEST(ChooseBatchCapTest, NeverExceedsTheRecordsAndThenCostsNothing) {
  ASSERT_OK_AND_ASSIGN(const BatchCap cap, ChooseBatchCap({20, 1, 10, 1, 1e-5}));
  EXPECT_EQ(cap.examples, 20);
  EXPECT_EQ(cap.step_truncation_delta, 0);
}

TEST(ChooseBatchCapTest, HugeEpsilonStaysFinite) {
  ASSERT_OK_AND_ASSIGN(const BatchCap cap, ChooseBatchCap({100000, 0.001, 10, 2000, 1e-5}));
  EXPECT_LE(10 * cap.step_truncation_delta, 1e-9);
  EXPECT_GT(cap.examples, 1000);
}

TEST(ChooseBatchCapTest, NamesEveryValueOutOfRange) {
  EXPECT_THAT(ChooseBatchCap({0, 2, 0, -1, 0}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("max_records"), HasSubstr("sampling_rate"),
                             HasSubstr("steps"), HasSubstr("epsilon"), HasSubstr("delta"))));
}

}  // namespace
}  // namespace sotto::accounting
