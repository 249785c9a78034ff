#include "common/layout/wrapping.h"

#include <string>

#include "common/base/status_matchers.h"
#include "common/layout/adaptation.h"
#include "common/layout/flat_layout.h"
#include "common/layout/gpt2_description.h"
#include "common/layout/slot_layout.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sotto::layout {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

ModelDescription MakeModel(int blocks = 5) {
  return *MakeGpt2Description(
      {.vocabulary_size = 11, .width = 4, .layers = blocks, .heads = 2, .max_length = 8});
}

std::vector<std::string> Names(const ModelDescription& model) {
  std::vector<std::string> names;
  for (const UnitDescription& unit : model.units) names.push_back(unit.name);
  return names;
}

std::vector<ParameterDescription> Parameters(const ModelDescription& model) {
  std::vector<ParameterDescription> all;
  for (const UnitDescription& unit : model.units) {
    all.insert(all.end(), unit.parameters.begin(), unit.parameters.end());
  }
  return all;
}

constexpr Wrapping::Kind kKinds[] = {Wrapping::Kind::kByBlock, Wrapping::Kind::kByLayer,
                                     Wrapping::Kind::kBySize};

Wrapping Make(Wrapping::Kind kind) {
  return {.kind = kind, .layer_kinds = {LayerKind::kLinear}, .minimum_parameters = 500};
}

TEST(WrappingTest, KeepsParametersTheirOrderAndTheirCanonicalPositions) {
  const ModelDescription model = MakeModel();
  const FlatLayout blocks = *FlatLayout::Create(model, 1);
  for (Wrapping::Kind kind : kKinds) {
    ASSERT_OK_AND_ASSIGN(const WrappedModel wrapped, Wrap(model, Make(kind)));
    EXPECT_EQ(Parameters(wrapped.units), Parameters(model));
    const FlatLayout units = *FlatLayout::Create(wrapped.units, 3);
    for (size_t block = 0; block < model.units.size(); ++block) {
      const std::vector<ParameterPlace>& places = wrapped.blocks.parameters[block];
      ASSERT_EQ(places.size(), model.units[block].parameters.size());
      for (size_t i = 0; i < places.size(); ++i) {
        const UnitLayout& unit = units.unit(places[i].unit);
        const UnitLayout& own = blocks.unit(static_cast<int>(block));
        EXPECT_EQ(wrapped.units.units[places[i].unit].parameters[places[i].index],
                  model.units[block].parameters[i]);
        EXPECT_EQ(unit.canonical_base + unit.parameters[places[i].index].offset,
                  own.canonical_base + own.parameters[i].offset);
        EXPECT_EQ(unit.first_parameter + places[i].index,
                  own.first_parameter + static_cast<int64_t>(i));
      }
    }
  }
}

TEST(WrappingTest, BySizeMergesBlocksUntilTheyAreLargeEnough) {
  const ModelDescription model = MakeModel();
  Wrapping wrapping = Make(Wrapping::Kind::kBySize);  // A block has 244 parameters.
  ASSERT_OK_AND_ASSIGN(const WrappedModel wrapped, Wrap(model, wrapping));
  EXPECT_THAT(wrapped.blocks.units, ElementsAre(ElementsAre(0), ElementsAre(1), ElementsAre(1),
                                                ElementsAre(1), ElementsAre(2), ElementsAre(2)));
  EXPECT_THAT(Names(wrapped.units), ElementsAre("root", "h.0-h.2", "h.3-h.4"));
  wrapping.minimum_parameters = 1;
  EXPECT_THAT(Wrap(model, wrapping)->blocks.units, PlacesByBlock(model).units);
  wrapping.minimum_parameters = 0;
  EXPECT_THAT(Wrap(model, wrapping), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(WrappingTest, ByLayerEndsAUnitWithEachLayerOfTheKinds) {
  const ModelDescription model = MakeModel(1);
  Wrapping wrapping = Make(Wrapping::Kind::kByLayer);
  ASSERT_OK_AND_ASSIGN(WrappedModel wrapped, Wrap(model, wrapping));
  EXPECT_THAT(Names(wrapped.units), ElementsAre("root", "h.0.attn.c_attn", "h.0.attn.c_proj",
                                                "h.0.mlp.c_fc", "h.0.mlp.c_proj"));
  EXPECT_THAT(wrapped.blocks.units, ElementsAre(ElementsAre(0), ElementsAre(1, 2, 3, 4)));
  EXPECT_EQ(wrapped.units.units[3].parameters.front().name, "h.0.ln_2.weight");
  wrapping.layer_kinds = {LayerKind::kLayerNorm};
  ASSERT_OK_AND_ASSIGN(wrapped, Wrap(model, wrapping));
  EXPECT_THAT(Names(wrapped.units), ElementsAre("root", "h.0.ln_1", "h.0.ln_2"));
  EXPECT_EQ(wrapped.units.units[2].parameters.back().name, "h.0.mlp.c_proj.bias");
  wrapping.layer_kinds = {LayerKind::kConv2d};
  ASSERT_OK_AND_ASSIGN(wrapped, Wrap(model, wrapping));
  EXPECT_THAT(Names(wrapped.units), ElementsAre("root", model.units[1].name));
  wrapping.layer_kinds = {};
  EXPECT_THAT(Wrap(model, wrapping), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(WrappingTest, AdaptersAreUnitsBehindTheirBlocks) {
  ModelDescription model = MakeModel(1);
  ASSERT_OK(Adapt({.lora = LoraAdaptation{.rank = 2}}, model));
  ASSERT_OK_AND_ASSIGN(const WrappedModel wrapped, Wrap(model, Make(Wrapping::Kind::kByLayer)));
  EXPECT_GT(wrapped.units.units.size(), 5u);
  EXPECT_FALSE(wrapped.units.units[1].has_trainable());
  EXPECT_TRUE(wrapped.units.units.back().has_trainable());
}

TEST(SlotLayoutTest, KeptUnitsHaveBuffersOfTheirOwnSize) {
  const FlatLayout units = *FlatLayout::Create(MakeModel(3), 2);
  const SlotLayout slots =
      GatheredSlots(units, {.gathered_slots = 2, .kept_gathered = {false, true, false, false}});
  EXPECT_THAT(slots.buffers,
              ElementsAre(units.unit(0).whole_elements(), units.unit(1).whole_elements(),
                          units.unit(2).whole_elements(), units.unit(3).whole_elements()));
  EXPECT_EQ(slots.places[1].size(), 1u);
  EXPECT_EQ(slots.places[2].size(), 2u);
  EXPECT_THAT(GatheredSlots(units, {.strategy = Strategy::kNoShard}).buffers, IsEmpty());
  EXPECT_EQ(GradientSlots(units, {.gradient_slots = 9}).buffers.size(), 4u);
}

TEST(SlotLayoutTest, ASlotHoldsTheUnitsOfABlockSideBySide) {
  const ModelDescription model = MakeModel(2);
  const WrappedModel wrapped = *Wrap(model, Make(Wrapping::Kind::kByLayer));
  const FlatLayout units = *FlatLayout::Create(wrapped.units, 3);
  const SlotLayout slots =
      GatheredSlots(units, {.gathered_slots = 1, .block_units = wrapped.blocks.units});
  ASSERT_EQ(slots.buffers.size(), 2u);
  int64_t end = 0;
  for (int unit : wrapped.blocks.units[1]) {
    ASSERT_EQ(slots.places[unit].size(), 1u);
    EXPECT_EQ(slots.places[unit][0].offset, end);
    end += units.unit(unit).whole_elements();
  }
  EXPECT_EQ(slots.buffers[1], end);
}

}  // namespace
}  // namespace sotto::layout
