#include <vector>

#include "common/base/status_matchers.h"
#include "common/layout/gradient_mode.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tools/check/mode_check.h"
#include "tools/check/world_check.h"

namespace sotto::check {
namespace {

constexpr ModelShape kSmall = {
    .vocabulary_size = 31, .width = 16, .layers = 2, .heads = 2, .tokens = 12};

TEST(ModeCheckTest, EveryModeAgreesWithTheLoop) {
  for (bool untied : {false, true}) {
    ModelShape shape = kSmall;
    shape.untied_head = untied;
    ASSERT_OK_AND_ASSIGN(const std::vector<ModeRow> rows, CompareModes(shape, 5));
    ASSERT_EQ(rows.size(), layout::kGradientModes.size());
    for (const ModeRow& row : rows) {
      EXPECT_TRUE(row.Agrees()) << row.mode << " " << row.norm_error << " " << row.sum_error;
      EXPECT_GT(row.sum_error, 0) << row.mode;  // fp32 is never exactly the fp64 sum
      EXPECT_GT(row.tokens_per_second, 0);
    }
  }
}

TEST(ModeCheckTest, ErrorsAboveTheLimitsDiffer) {
  EXPECT_TRUE((ModeRow{.norm_error = 1e-5, .sum_error = 1e-5}).Agrees());
  EXPECT_FALSE((ModeRow{.norm_error = 1.1e-5}).Agrees());
  EXPECT_FALSE((ModeRow{.sum_error = 1.1e-5}).Agrees());
}

TEST(ModeCheckTest, BadShapesAreRefused) {
  EXPECT_THAT(CompareModes(kSmall, 1), StatusIs(absl::StatusCode::kInvalidArgument));
  ModelShape uneven = kSmall;
  uneven.heads = 3;
  EXPECT_THAT(CompareModes(uneven, 2), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(WorldCheckTest, WorldSizesAgree) {
  ASSERT_OK_AND_ASSIGN(const std::vector<WorldRow> rows,
                       CompareWorldSizes({.shape = kSmall, .world_sizes = {1, 2, 3}}));
  ASSERT_EQ(rows.size(), 3);
  for (const WorldRow& row : rows) EXPECT_TRUE(row.Agrees()) << row.world_size;
  EXPECT_FALSE((WorldRow{.differing_parameters = 1}).Agrees());
}

TEST(WorldCheckTest, UnknownModesAreRefused) {
  EXPECT_THAT(CompareWorldSizes({.shape = kSmall, .mode = "nonsense"}),
              StatusIs(absl::StatusCode::kInvalidArgument, ::testing::HasSubstr("mode")));
}

}  // namespace
}  // namespace sotto::check
