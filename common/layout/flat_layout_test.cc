#include "common/layout/flat_layout.h"

#include <vector>

#include "common/base/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sotto::layout {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

ModelDescription MakeModel(std::vector<std::vector<std::vector<int64_t>>> units) {
  ModelDescription model;
  for (const auto& shapes : units) {
    UnitDescription unit{.name = "u"};
    for (const auto& shape : shapes) unit.parameters.push_back({.name = "p", .shape = shape});
    model.units.push_back(unit);
  }
  return model;
}

TEST(FlatLayoutTest, OffsetsAreAlignedAndTheSameAtEveryWorldSize) {
  const ModelDescription model = MakeModel({{{10, 7}, {3}, {32}}, {{33}}});
  for (int world_size : {1, 2, 3, 4, 5, 8}) {
    ASSERT_OK_AND_ASSIGN(const FlatLayout layout, FlatLayout::Create(model, world_size));
    const UnitLayout& unit = layout.unit(0);
    EXPECT_THAT(unit.parameters, ElementsAre(ParameterLayout{0, 70}, ParameterLayout{96, 3},
                                             ParameterLayout{128, 32}));
    EXPECT_EQ(unit.elements, 105);
    EXPECT_EQ(unit.aligned_elements, 160);
    EXPECT_EQ(unit.padded_elements % (32 * world_size), 0);
    EXPECT_GE(unit.padded_elements, 160);
    EXPECT_LT(unit.padded_elements, 160 + 32 * world_size);
    EXPECT_EQ(layout.unit(1).canonical_base, 160);
    EXPECT_EQ(layout.unit(1).first_parameter, 3);
  }
}

TEST(FlatLayoutTest, TenElementsOnThreeRanksLeaveTwoRanksWithPaddingOnly) {
  ASSERT_OK_AND_ASSIGN(const FlatLayout layout, FlatLayout::Create(MakeModel({{{10}}}), 3));
  EXPECT_EQ(layout.unit(0).padded_elements, 96);
  EXPECT_THAT(layout.UsedIntervals(0, 0), ElementsAre(Interval{0, 10}));
  EXPECT_THAT(layout.UsedIntervals(0, 1), IsEmpty());
  EXPECT_THAT(layout.UsedIntervals(0, 2), IsEmpty());
}

TEST(FlatLayoutTest, UsedIntervalsCoverEveryElementOnce) {
  const ModelDescription model = MakeModel({{{50}, {3, 11}, {1}}});
  for (int world_size = 1; world_size <= 8; ++world_size) {
    ASSERT_OK_AND_ASSIGN(const FlatLayout layout, FlatLayout::Create(model, world_size));
    std::vector<int> covered(layout.unit(0).padded_elements);
    for (int rank = 0; rank < world_size; ++rank) {
      for (const Interval& used : layout.UsedIntervals(0, rank)) {
        for (int64_t i = used.begin; i < used.end; ++i) ++covered[layout.Shard(0, rank).begin + i];
      }
    }
    std::vector<int> expected(covered.size());
    for (const ParameterLayout& parameter : layout.unit(0).parameters) {
      for (int64_t i = 0; i < parameter.elements; ++i) ++expected[parameter.offset + i];
    }
    EXPECT_EQ(covered, expected) << world_size;
  }
}

TEST(FlatLayoutTest, DecayIntervalsLeaveOutWhatDoesNotDecay) {
  ModelDescription model = MakeModel({{{40}, {40}}});
  model.units[0].parameters[1].weight_decay = true;
  ASSERT_OK_AND_ASSIGN(const FlatLayout layout, FlatLayout::Create(model, 2));
  EXPECT_THAT(layout.DecayIntervals(model, 0, 0), IsEmpty());
  EXPECT_THAT(layout.DecayIntervals(model, 0, 1), ElementsAre(Interval{0, 40}));
}

TEST(FlatLayoutTest, FrozenParametersLieBehindTheTrainableOnes) {
  ModelDescription model = MakeModel({{{40}, {50}, {3}, {7}}, {{33}}});
  model.units[0].parameters[0].trainable = false;
  model.units[0].parameters[2].trainable = false;
  for (int world_size : {1, 2, 3, 4}) {
    ASSERT_OK_AND_ASSIGN(const FlatLayout layout, FlatLayout::Create(model, world_size));
    const UnitLayout& unit = layout.unit(0);
    const int64_t border = unit.padded_elements;
    EXPECT_THAT(unit.parameters,
                ElementsAre(ParameterLayout{border, 40, false}, ParameterLayout{0, 50},
                            ParameterLayout{border + 64, 3, false}, ParameterLayout{64, 7}));
    EXPECT_EQ(unit.elements, 57);
    EXPECT_EQ(unit.aligned_elements, 96);
    EXPECT_EQ(unit.frozen.elements, 43);
    EXPECT_EQ(unit.frozen.padded_elements % (32 * world_size), 0);
    EXPECT_EQ(unit.whole_elements(), border + unit.frozen.padded_elements);
    // Noise does not count what is frozen; initial values do.
    EXPECT_EQ(layout.unit(1).canonical_base, 96);
    EXPECT_EQ(layout.unit(1).first_parameter, 4);
    EXPECT_EQ(layout.total_elements(), 133);
    EXPECT_EQ(layout.trainable_elements(), 90);
    int64_t used = 0;
    for (int rank = 0; rank < world_size; ++rank) {
      for (const Interval& interval : layout.UsedIntervals(0, rank)) used += interval.size();
      EXPECT_EQ(layout.FrozenShard(0, rank).begin,
                border + rank * unit.frozen.padded_elements / world_size);
    }
    EXPECT_EQ(used, 57);
  }
}

TEST(FlatLayoutTest, AUnitWithoutTrainableParametersHasNoShard) {
  ModelDescription model = MakeModel({{{40}}, {{33}}});
  model.units[1].parameters[0].trainable = false;
  ASSERT_OK_AND_ASSIGN(const FlatLayout layout, FlatLayout::Create(model, 2));
  EXPECT_FALSE(layout.unit(1).has_trainable());
  EXPECT_EQ(layout.unit(1).padded_elements, 0);
  EXPECT_EQ(layout.unit(1).shard_elements, 0);
  EXPECT_THAT(layout.UsedIntervals(1, 0), IsEmpty());
  EXPECT_EQ(layout.max_block_padded_elements(), 0);
  EXPECT_EQ(layout.max_block_whole_elements(), 64);
}

TEST(FlatLayoutTest, RefusesAWorldOfZeroAndEmptyShapes) {
  EXPECT_THAT(FlatLayout::Create(MakeModel({{{4}}}), 0),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("world_size")));
  EXPECT_THAT(FlatLayout::Create(MakeModel({{{4, 0}}}), 1),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("extent")));
  EXPECT_THAT(FlatLayout::Create(MakeModel({{}}), 1), StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace sotto::layout
