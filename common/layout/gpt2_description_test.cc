#include "common/layout/gpt2_description.h"

#include "common/base/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sotto::layout {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Gpt2DescriptionTest, SmallHasHuggingFacesParameterCount) {
  // notes: 124,439,808 with the tied head counted once.
  ASSERT_OK_AND_ASSIGN(
      const ModelDescription model,
      MakeGpt2Description(
          {.vocabulary_size = 50257, .width = 768, .layers = 12, .heads = 12, .max_length = 1024}));
  EXPECT_EQ(model.num_elements(), 124439808);
  EXPECT_EQ(model.units.size(), 13);
  EXPECT_EQ(model.units[0].parameters[0].name, "wte.weight");
  EXPECT_EQ(model.units[12].parameters[2].name, "h.11.attn.c_attn.weight");
  EXPECT_THAT(model.units[12].parameters[2].shape, ElementsAre(768, 2304));
  EXPECT_EQ(model.stages.size(), 14);
}

TEST(Gpt2DescriptionTest, AnUntiedHeadIsAParameterOfTheRoot) {
  ASSERT_OK_AND_ASSIGN(const ModelDescription model, MakeGpt2Description({.vocabulary_size = 11,
                                                                          .width = 4,
                                                                          .layers = 1,
                                                                          .heads = 2,
                                                                          .max_length = 8,
                                                                          .tied_head = false}));
  EXPECT_EQ(model.units[0].parameters.back().name, "lm_head.weight");
  EXPECT_THAT(model.stages, ElementsAre(0, 1, 0));
}

TEST(Gpt2DescriptionTest, OnlyMatricesDecay) {
  ASSERT_OK_AND_ASSIGN(
      const ModelDescription model,
      MakeGpt2Description(
          {.vocabulary_size = 11, .width = 4, .layers = 2, .heads = 2, .max_length = 8}));
  for (const UnitDescription& unit : model.units) {
    for (const ParameterDescription& parameter : unit.parameters) {
      EXPECT_EQ(parameter.weight_decay, parameter.shape.size() == 2) << parameter.name;
    }
  }
}

TEST(Gpt2DescriptionTest, RefusesAWidthThatHeadsDoNotDivide) {
  EXPECT_THAT(MakeGpt2Description(
                  {.vocabulary_size = 11, .width = 5, .layers = 1, .heads = 2, .max_length = 8}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("divisible")));
  EXPECT_THAT(MakeGpt2Description(
                  {.vocabulary_size = 1, .width = 4, .layers = 1, .heads = 2, .max_length = 8}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("vocabulary_size")));
}

}  // namespace
}  // namespace sotto::layout
