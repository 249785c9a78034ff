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
  EXPECT_GE(held, 8 * model.num_elements() * 4);
  EXPECT_LE(held, 8 * (model.num_elements() + 64 * 32) * 4);
  options.mode = *FindMode("flash");
  EXPECT_EQ(EstimateMemory(model, layout, options).held_gradients_bytes, 0);
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
