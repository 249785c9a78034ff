#include "common/layout/memory.h"

#include "common/base/status_matchers.h"
#include "common/layout/gpt2_description.h"
#include "gtest/gtest.h"

namespace sotto::layout {
namespace {

ModelDescription MakeModel() {
  return *MakeGpt2Description(
      {.vocabulary_size = 257, .width = 64, .layers = 4, .heads = 4, .max_length = 128});
}

TEST(MemoryTest, ShardsShrinkWithTheWorldAndSlotsDoNot) {
  const ModelDescription model = MakeModel();
  const MemoryOptions options{
      .mode = *FindMode("no_dp"), .micro_batch_size = 8, .longest_length = 128};
  const MemoryEstimate one = EstimateMemory(model, *FlatLayout::Create(model, 1), options);
  const MemoryEstimate four = EstimateMemory(model, *FlatLayout::Create(model, 4), options);
  EXPECT_EQ(one.optimizer_bytes, 2 * one.parameters_bytes);
  EXPECT_NEAR(static_cast<double>(four.parameters_bytes), one.parameters_bytes / 4.0, 5 * 128);
  EXPECT_GE(four.slots_bytes, one.slots_bytes);
  EXPECT_EQ(one.communicator_bytes, 0);
  EXPECT_GT(four.communicator_bytes, 0);
}

TEST(MemoryTest, HeldGradientsAreOnePerExample) {
  const ModelDescription model = MakeModel();
  const FlatLayout layout = *FlatLayout::Create(model, 2);
  MemoryOptions options{
      .mode = *FindMode("per_example"), .micro_batch_size = 8, .longest_length = 128};
  const int64_t held = EstimateMemory(model, layout, options).held_gradients_bytes;
  // The positions' are held as their output gradients, which the tied embedding holds too.
  EXPECT_EQ(held, 8 * (model.num_elements() - 128 * 64) * 4);
  options.mode = *FindMode("flash");
  EXPECT_EQ(EstimateMemory(model, layout, options).held_gradients_bytes, 0);
}

TEST(MemoryTest, BookKeepingHoldsOutputGradientsOfEveryLayerButTheHead) {
  ModelDescription model = *MakeGpt2Description({.vocabulary_size = 257,
                                                 .width = 64,
                                                 .layers = 4,
                                                 .heads = 4,
                                                 .max_length = 128,
                                                 .tied_head = false});
  const FlatLayout layout = *FlatLayout::Create(model, 2);
  MemoryOptions options{
      .mode = *FindMode("flash_bk"), .micro_batch_size = 8, .longest_length = 100};
  // Per block 11 widths, the embedding's and the final norm's; most is needed in the first block,
  // before its attention's maps, its first norm and the embedding hand theirs over.
  const int64_t token = (4 * 11 + 2 - 3 - 1 - 1) * 64;
  EXPECT_EQ(EstimateMemory(model, layout, options).held_gradients_bytes, 8 * 100 * token * 4);
  options.mode = WithDeferredNorms(*FindMode("flash"));
  EXPECT_EQ(EstimateMemory(model, layout, options).held_gradients_bytes, 8 * 100 * token * 4);
}

TEST(MemoryTest, MixedModesHoldWhatEachLayerSays) {
  const ModelDescription model = MakeModel();
  const FlatLayout layout = *FlatLayout::Create(model, 2);
  MemoryOptions options{
      .mode = *FindMode("per_example"), .micro_batch_size = 8, .longest_length = 100};
  const int64_t all = EstimateMemory(model, layout, options).held_gradients_bytes;
  for (const UnitDescription& unit : model.units) {
    options.layer_modes.push_back(
        std::vector<UnitMode>(unit.layers.size(), *FindMode("per_example")));
  }
  EXPECT_EQ(EstimateMemory(model, layout, options).held_gradients_bytes, all);
  options.layer_modes[2][1] = *FindMode("flash_bk");  // h.1.attn.c_attn
  EXPECT_EQ(EstimateMemory(model, layout, options).held_gradients_bytes,
            all - 8 * 4 * (64 + 1) * 192 + 8 * 100 * 4 * 192);
}

TEST(MemoryTest, StrategiesHoldWholeUnitsWhereTheySaySo) {
  const ModelDescription model = MakeModel();
  const FlatLayout shard = *FlatLayout::Create(model, 4);
  const FlatLayout whole = *FlatLayout::Create(model, 1);
  MemoryOptions options{.mode = *FindMode("no_dp"), .world_size = 4};
  const MemoryEstimate full = EstimateMemory(model, shard, options);
  options.strategy = Strategy::kShardGradOp;
  const MemoryEstimate zero2 = EstimateMemory(model, shard, options);
  EXPECT_EQ(zero2.parameters_bytes, full.parameters_bytes);
  EXPECT_EQ(zero2.optimizer_bytes, full.optimizer_bytes);
  EXPECT_EQ(zero2.slots_bytes, 2 * 4 * shard.total_shard_elements() * 4);
  options.strategy = Strategy::kNoShard;
  const MemoryEstimate replicated = EstimateMemory(model, whole, options);
  EXPECT_EQ(replicated.slots_bytes, 0);
  EXPECT_EQ(replicated.parameters_bytes, whole.total_shard_elements() * 4);
  EXPECT_EQ(replicated.optimizer_bytes, 2 * replicated.parameters_bytes);
  EXPECT_GT(replicated.communicator_bytes, 0);
}

TEST(MemoryTest, FrozenParametersHaveNoGradientAndNoState) {
  ModelDescription model = MakeModel();
  for (UnitDescription& unit : model.units) {
    for (ParameterDescription& parameter : unit.parameters) {
      parameter.trainable = parameter.shape.size() == 1;  // Biases and gains.
    }
  }
  const FlatLayout layout = *FlatLayout::Create(model, 1);
  const MemoryEstimate estimate =
      EstimateMemory(model, layout, {.mode = *FindMode("per_example"), .micro_batch_size = 8});
  EXPECT_GE(estimate.parameters_bytes, model.num_elements() * 4);
  EXPECT_EQ(estimate.gradient_bytes, layout.total_shard_elements() * 4);
  EXPECT_LT(estimate.gradient_bytes * 10, estimate.parameters_bytes);
  EXPECT_EQ(estimate.optimizer_bytes, 2 * estimate.gradient_bytes);
}

TEST(MemoryTest, StagingRegionsHoldWholeSlicesOfEveryRank) {
  const ModelDescription model = MakeModel();
  for (int world_size : {1, 2, 3, 5, 7, 8}) {
    const FlatLayout layout = *FlatLayout::Create(model, world_size);
    const int64_t region = CommunicatorRegionElements(layout);
    EXPECT_EQ(region % (32 * world_size), 0);
    EXPECT_GT(region, 0);
    EXPECT_GE(CommunicatorBytes(layout), 2 * world_size * region * 4);
  }
}

}  // namespace
}  // namespace sotto::layout
