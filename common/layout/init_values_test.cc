#include "common/layout/init_values.h"

#include <cmath>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sotto::layout {
namespace {

using ::testing::Each;

const ParameterDescription kNormal{
    .name = "w", .shape = {1000, 100}, .init = Init::kNormal, .init_stddev = 0.02};

std::vector<float> Values(const ParameterDescription& parameter, uint64_t seed, int64_t index,
                          int64_t first, int64_t size) {
  std::vector<float> values(size);
  FillInitialValues(parameter, seed, index, first, absl::MakeSpan(values));
  return values;
}

TEST(InitValuesTest, AnySlicingGivesTheSameValues) {
  const std::vector<float> whole = Values(kNormal, 7, 3, 0, 101);
  for (int64_t first = 0; first < 101; ++first) {
    for (int64_t size : {int64_t{1}, int64_t{2}, 101 - first}) {
      if (first + size > 101) continue;
      EXPECT_EQ(Values(kNormal, 7, 3, first, size),
                std::vector<float>(whole.begin() + first, whole.begin() + first + size));
    }
  }
}

TEST(InitValuesTest, SeedAndParameterSelectDifferentValues) {
  EXPECT_NE(Values(kNormal, 7, 3, 0, 8), Values(kNormal, 8, 3, 0, 8));
  EXPECT_NE(Values(kNormal, 7, 3, 0, 8), Values(kNormal, 7, 4, 0, 8));
}

TEST(InitValuesTest, NormalValuesHaveTheStatedMoments) {
  const std::vector<float> values = Values(kNormal, 1, 0, 0, 100000);
  double sum = 0, squares = 0, fourth = 0;
  for (float value : values) {
    const double z = value / 0.02;
    sum += z;
    squares += z * z;
    fourth += z * z * z * z;
  }
  const double n = static_cast<double>(values.size());
  // Five standard errors: 1/sqrt(n), sqrt(2/n), sqrt(96/n).
  EXPECT_NEAR(sum / n, 0, 5 / std::sqrt(n));
  EXPECT_NEAR(squares / n, 1, 5 * std::sqrt(2 / n));
  EXPECT_NEAR(fourth / n, 3, 5 * std::sqrt(96 / n));
}

TEST(InitValuesTest, GainsAreOnesAndBiasesZeros) {
  EXPECT_THAT(Values({.name = "g", .shape = {5}, .init = Init::kOnes}, 1, 0, 0, 5), Each(1.0f));
  EXPECT_THAT(Values({.name = "b", .shape = {5}, .init = Init::kZeros}, 1, 0, 0, 5), Each(0.0f));
}

}  // namespace
}  // namespace sotto::layout
