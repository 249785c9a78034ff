// What does not divide by the ranks trains all the same: ten elements on three ranks, units of
// fewer elements than ranks, units of one parameter, frozen units, one rank alone. Every run also
// checks that ranks gather the same bits and that padding is zero (training_run.h).
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status_matchers.h"
#include "common/layout/flat_layout.h"
#include "common/layout/wrapping.h"
#include "common/spec/model_layout.h"
#include "common/spec/sharding_choice.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/equivalence/padding.h"
#include "tests/equivalence/run_comparison.h"
#include "tests/equivalence/training_run.h"
#include "worker/comm/solo_communicator.h"

namespace sotto::equivalence {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// Strategies add the same numbers in another order.
constexpr double kTolerance = 1e-6;

// A Llama of this width whose blocks are cut behind each norm: the first unit of a block is one
// parameter of `width` elements.
RunOptions Uneven(int32_t width, int world_size, const std::string& strategy = "FULL_SHARD") {
  RunOptions options{.world_size = world_size,
                     .strategy = strategy,
                     .noise_multiplier = 1,
                     .end_step = 3,
                     .records = 20};
  options.choose_model = [width](v1::ModelSpec& model) {
    v1::LlamaSpec& llama = *model.mutable_llama();
    llama.set_vocabulary_size(29);
    llama.set_width(width);
    llama.set_layers(2);
    llama.set_heads(1);
    llama.set_key_value_heads(1);
    llama.set_head_width(width);
    llama.set_hidden_width(3 * width);
    llama.set_max_length(12);
    llama.set_init_stddev(0.3);
  };
  options.adjust = [](v1::JobPlan& plan) {
    plan.mutable_spec()->mutable_workers()->mutable_wrapping()->mutable_by_layer()->add_kinds(
        "rms_norm");
    PlaceAgain(plan);
  };
  return options;
}

RunOptions WithSgd(RunOptions options) {
  options.sgd_learning_rate = 0.1;
  return options;
}

// The first block's norm is frozen, which is a whole unit; of the second block all but the norms.
RunOptions WithFrozenUnits(RunOptions options) {
  options.frozen = {"layers.0.input_layernorm.weight", "layers.1.*_proj.weight"};
  return options;
}

RunResult RunOf(const RunOptions& options) {
  return Train(*MakeTempDir(absl::StrCat(::testing::TempDir(), "/sotto-")), options);
}

layout::WrappedModel UnitsOf(const RunOptions& options) {
  const v1::JobPlan plan =
      MakePlan(*MakeTempDir(absl::StrCat(::testing::TempDir(), "/sotto-")), options);
  return *spec::WrapModel(*spec::DescribeModel(plan.spec().model()),
                          plan.spec().workers().wrapping());
}

TEST(UnevenTest, TheFirstUnitOfABlockIsOneParameterThatOneRankOwns) {
  const layout::WrappedModel wrapped = UnitsOf(Uneven(10, 1));
  const layout::FlatLayout layout = *layout::FlatLayout::Create(wrapped.units, 3);
  ASSERT_EQ(wrapped.units.units[1].parameters.size(), 1u);
  EXPECT_EQ(layout.unit(1).elements, 10);
  EXPECT_EQ(layout.unit(1).padded_elements, 96);
  EXPECT_THAT(layout.UsedIntervals(1, 0), Not(IsEmpty()));
  for (int rank : {1, 2}) EXPECT_THAT(layout.UsedIntervals(1, rank), IsEmpty());
  const layout::WrappedModel frozen = UnitsOf(WithFrozenUnits(Uneven(10, 1)));
  EXPECT_FALSE(frozen.units.units[1].has_trainable());
}

class UnevenTest : public ::testing::TestWithParam<int32_t> {};

// Width 10: ten elements on two, three and eight ranks. Width 2: fewer elements than ranks.
TEST_P(UnevenTest, FullShardGivesTheSameBitsOnAnyNumberOfRanks) {
  const int32_t width = GetParam();
  for (const bool frozen : {false, true}) {
    const auto options = [&](int world_size) {
      const RunOptions all = Uneven(width, world_size);
      return frozen ? WithFrozenUnits(all) : all;
    };
    const RunResult one = RunOf(options(1));
    ASSERT_TRUE(one.succeeded);
    for (int world_size : {2, 3, 8}) {
      const RunResult many = RunOf(options(world_size));
      ASSERT_TRUE(many.succeeded) << world_size << " ranks";
      EXPECT_EQ(many.parameters, one.parameters) << world_size << " ranks";
    }
  }
}

TEST_P(UnevenTest, EveryStrategyEndsAtTheSameModel) {
  const int32_t width = GetParam();
  const RunResult reference = RunOf(WithSgd(Uneven(width, 1)));
  ASSERT_TRUE(reference.succeeded);
  struct Case {
    std::string strategy;
    int world_size;
    int group_size;
  };
  for (const auto& [strategy, world_size, group_size] :
       {Case{"SHARD_GRAD_OP", 1, 1}, Case{"SHARD_GRAD_OP", 3, 3}, Case{"NO_SHARD", 1, 1},
        Case{"NO_SHARD", 3, 1}, Case{"HYBRID_SHARD", 1, 1}, Case{"HYBRID_SHARD", 3, 3},
        Case{"HYBRID_SHARD", 6, 3}}) {
    RunOptions options = WithSgd(Uneven(width, world_size, strategy));
    options.shard_group_size = group_size;
    const RunResult run = RunOf(options);
    ASSERT_TRUE(run.succeeded) << strategy << " on " << world_size << " ranks";
    EXPECT_LE(LargestDifference(run.parameters, reference.parameters), kTolerance)
        << strategy << " on " << world_size << " ranks";
  }
}

TEST_P(UnevenTest, FrozenUnitsUnderEveryStrategy) {
  const RunResult reference = RunOf(WithFrozenUnits(WithSgd(Uneven(GetParam(), 1))));
  ASSERT_TRUE(reference.succeeded);
  for (const std::string strategy : {"SHARD_GRAD_OP", "NO_SHARD", "HYBRID_SHARD"}) {
    RunOptions options = WithFrozenUnits(WithSgd(Uneven(GetParam(), 3, strategy)));
    options.shard_group_size = 3;
    const RunResult run = RunOf(options);
    ASSERT_TRUE(run.succeeded) << strategy;
    EXPECT_LE(LargestDifference(run.parameters, reference.parameters), kTolerance) << strategy;
  }
}

TEST_P(UnevenTest, ACheckpointOfThreeRanksResumesOnFive) {
  const RunResult straight = RunOf(Uneven(GetParam(), 1));
  RunOptions first = Uneven(GetParam(), 3);
  first.end_step = 2;
  first.checkpoint_directory = *MakeTempDir(absl::StrCat(::testing::TempDir(), "/sotto-"));
  ASSERT_TRUE(RunOf(first).succeeded);
  RunOptions second = Uneven(GetParam(), 5);
  second.first_step = 2;
  second.checkpoint_directory = first.checkpoint_directory;
  const RunResult resumed = RunOf(second);
  ASSERT_TRUE(straight.succeeded && resumed.succeeded);
  EXPECT_EQ(resumed.parameters, straight.parameters);
}

INSTANTIATE_TEST_SUITE_P(Widths, UnevenTest, ::testing::Values(10, 2),
                         [](const auto& info) { return absl::StrCat("width_", info.param); });

// Whether the checks that every run makes see what they look for.
TEST(PaddingTest, AnythingBesideTheElementsIsSeen) {
  const layout::WrappedModel wrapped = UnitsOf(WithFrozenUnits(Uneven(10, 1)));
  const layout::FlatLayout layout = *layout::FlatLayout::Create(wrapped.units, 1);
  comm::SoloCommunicator alone;
  const auto parameters =
      *fsdp::ShardedParameters::Create(wrapped.units, layout, alone, {.blocks = wrapped.blocks});
  parameters->Initialize(7);
  optim::StateTensor state{
      .name = "m", .unit = 2, .values = parameters->MasterShard(2).clone().fill_(0)};
  EXPECT_OK(CheckPaddingIsZero(*parameters, {state}));
  struct Case {
    std::string what;
    at::Tensor values;
  };
  // Unit 1 is frozen: ten elements. The first parameter of unit 2 has 100 elements.
  for (const auto& [what, values] : {Case{"frozen shard of unit 1", parameters->FrozenShard(1)},
                                     Case{"master shard of unit 2", parameters->MasterShard(2)},
                                     Case{"gradient shard of unit 2", parameters->GradientShard(2)},
                                     Case{"m of unit 2", state.values}}) {
    const int64_t padding = values.numel() == layout.unit(1).frozen.shard_elements ? 10 : 100;
    values.data_ptr<float>()[padding] = 1;
    EXPECT_THAT(
        CheckPaddingIsZero(*parameters, {state}),
        StatusIs(absl::StatusCode::kInternal,
                 HasSubstr(absl::StrCat(what, " has padding that is not zero, at ", padding))));
    values.data_ptr<float>()[padding] = 0;
  }
}

}  // namespace
}  // namespace sotto::equivalence
