#include "common/layout/layer_rules.h"

#include "common/base/status_matchers.h"
#include "common/layout/gpt2_description.h"
#include "common/layout/schedule_options.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sotto::layout {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

ModelDescription MakeModel(bool tied_head = true) {
  return *MakeGpt2Description({.vocabulary_size = 11,
                               .width = 4,
                               .layers = 2,
                               .heads = 2,
                               .max_length = 8,
                               .tied_head = tied_head});
}

TEST(LayerRulesTest, BatchNormIsRefusedByName) {
  ModelDescription model = MakeModel();
  EXPECT_OK(CheckExamplesApart(model));
  model.units[2].layers[3].kind = LayerKind::kBatchNorm;
  EXPECT_THAT(CheckExamplesApart(model),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("h.1"), HasSubstr("h.1.ln_2"), HasSubstr("batch_norm"))));
}

TEST(LayerRulesTest, EveryParameterOfGpt2BelongsToOneLayer) {
  for (bool tied : {true, false}) {
    for (const UnitDescription& unit : MakeModel(tied).units) {
      std::vector<int> owners(unit.parameters.size());
      for (const LayerDescription& layer : unit.layers) {
        for (int parameter : layer.parameters) {
          ++owners[parameter];
          EXPECT_EQ(unit.parameters[parameter].name.rfind(layer.name, 0), 0) << layer.name;
        }
      }
      for (int count : owners) EXPECT_EQ(count, 1);
    }
  }
}

TEST(ModelDescriptionTest, AStageIsTrainableWhenALayerThatRunsInItIs) {
  ModelDescription model = MakeModel(/*tied_head=*/false);
  EXPECT_THAT(model.TrainableStages(), ElementsAre(true, true, true, true));
  for (UnitDescription& unit : model.units) {
    for (ParameterDescription& parameter : unit.parameters) parameter.trainable = false;
  }
  EXPECT_THAT(model.TrainableStages(), ElementsAre(false, false, false, false));
  model.units[0].parameters[3].trainable = true;  // ln_f.bias: last stage only
  EXPECT_THAT(model.TrainableStages(), ElementsAre(false, false, false, true));
  model.units[0].parameters[1].trainable = true;  // wpe: first stage
  EXPECT_THAT(model.TrainableStages(), ElementsAre(true, false, false, true));
  model.units[2].parameters[0].trainable = true;
  EXPECT_THAT(model.TrainableStages(), ElementsAre(true, false, true, true));
}

TEST(ModelDescriptionTest, ATiedWeightIsTrainedInBothOfItsStages) {
  ModelDescription model = MakeModel();
  for (size_t i = 1; i < model.units[0].parameters.size(); ++i) {
    model.units[0].parameters[i].trainable = false;
  }
  EXPECT_THAT(model.TrainableStages(), ElementsAre(true, true, true, true));
}

TEST(ScheduleOptionsTest, SayOnlyWhatIsUnusual) {
  const ModelDescription model = MakeModel();
  const ScheduleOptions options = MakeScheduleOptions(model, {.mode = *FindMode("flash_bk")});
  EXPECT_TRUE(options.trainable_stages.empty());
  EXPECT_TRUE(options.held_work.empty());
  EXPECT_FALSE(options.deferred_norms);
  EXPECT_TRUE(
      MakeScheduleOptions(model, {.mode = WithDeferredNorms(*FindMode("ghost"))}).deferred_norms);
}

TEST(ScheduleOptionsTest, MixedLayersMixTheWorkOfTheirUnit) {
  const ModelDescription model = MakeModel();
  ScheduleChoice choice{.mode = *FindMode("per_example")};
  for (const UnitDescription& unit : model.units) {
    choice.layer_modes.push_back(
        std::vector<UnitMode>(unit.layers.size(), *FindMode("per_example")));
  }
  EXPECT_TRUE(MakeScheduleOptions(model, choice).held_work.empty());
  choice.layer_modes[0][0] = *FindMode("flash_bk");
  for (UnitMode& mode : choice.layer_modes[2]) mode = *FindMode("flash_bk");
  EXPECT_THAT(MakeScheduleOptions(model, choice).held_work,
              ElementsAre(Operation::kFold | Operation::kWeightGrad, OperationSet(Operation::kFold),
                          OperationSet(Operation::kWeightGrad)));
}

}  // namespace
}  // namespace sotto::layout
