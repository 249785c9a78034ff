// Ranks as processes: gathers, reductions and initial values at several world sizes.
#include "worker/fsdp/sharded_parameters.h"

#include <algorithm>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "ATen/ops/equal.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/status_macros.h"
#include "common/layout/execution_schedule.h"
#include "common/layout/gpt2_description.h"
#include "common/layout/init_values.h"
#include "common/layout/memory.h"
#include "common/layout/strategy.h"
#include "gtest/gtest.h"
#include "worker/comm/local_communicator.h"
#include "worker/comm/testing/rank_processes.h"

namespace sotto::fsdp {
namespace {

constexpr uint64_t kSeed = 11;

layout::ModelDescription Gpt2() {
  return *layout::MakeGpt2Description(
      {.vocabulary_size = 37, .width = 12, .layers = 3, .heads = 2, .max_length = 9});
}

// A root of ten elements: on three ranks, two of them own padding only.
layout::ModelDescription TenElements() {
  layout::ModelDescription model{.stages = {0, 1, 0}};
  model.units.push_back(
      {.name = "root",
       .parameters = {
           {.name = "ten", .shape = {10}, .init = layout::Init::kNormal, .init_stddev = 1}}});
  model.units.push_back(
      {.name = "block",
       .parameters = {{.name = "one", .shape = {1}, .init = layout::Init::kOnes}}});
  return model;
}

// Some parameters of every unit frozen, and one whole unit.
layout::ModelDescription Frozen() {
  layout::ModelDescription model = Gpt2();
  for (size_t unit = 0; unit < model.units.size(); ++unit) {
    for (layout::ParameterDescription& parameter : model.units[unit].parameters) {
      parameter.trainable = unit != 2 && parameter.shape.size() == 1;
    }
  }
  return model;
}

layout::ModelDescription ModelNamed(const std::string& name) {
  if (name == "frozen") return Frozen();
  return name == "ten" ? TenElements() : Gpt2();
}

// HYBRID_SHARD: two replicas of an even world.
layout::RankGrid GridOf(layout::Strategy strategy, int world_size) {
  return *layout::MakeRankGrid(strategy, world_size,
                               world_size % 2 == 0 ? world_size / 2 : world_size);
}

absl::Status Expect(bool condition, const std::string& what) {
  return condition ? absl::OkStatus() : absl::InternalError(what);
}

absl::Status CheckPaddingIsZero(const layout::FlatLayout& layout, int unit, int rank,
                                const at::Tensor& shard) {
  std::vector<bool> used(shard.numel());
  for (const layout::Interval& interval : layout.UsedIntervals(unit, rank)) {
    for (int64_t i = interval.begin; i < interval.end; ++i) used[i] = true;
  }
  for (int64_t i = 0; i < shard.numel(); ++i) {
    if (!used[i] && shard.data_ptr<float>()[i] != 0)
      return absl::InternalError(absl::StrCat("padding at ", i));
  }
  return absl::OkStatus();
}

// Gathered parameters are the initial values, wherever the shards' borders lie.
absl::Status CheckGather(ShardedParameters& parameters, int unit, int slot) {
  RETURN_IF_ERROR(parameters.Gather(unit, slot));
  RETURN_IF_ERROR(parameters.Gather(unit, slot));  // Again, as every step does.
  const layout::UnitDescription& description = parameters.model().units[unit];
  const layout::UnitLayout& places = parameters.layout().unit(unit);
  for (size_t i = 0; i < description.parameters.size(); ++i) {
    std::vector<float> expected(places.parameters[i].elements);
    layout::FillInitialValues(description.parameters[i], kSeed,
                              places.first_parameter + static_cast<int64_t>(i), 0,
                              absl::MakeSpan(expected));
    const at::Tensor& view = parameters.ParameterViews(unit, slot)[i];
    RETURN_IF_ERROR(Expect(view.sizes().vec() == description.parameters[i].shape, "shape"));
    RETURN_IF_ERROR(Expect(std::equal(expected.begin(), expected.end(), view.data_ptr<float>()),
                           absl::StrCat("values of ", description.parameters[i].name)));
  }
  return absl::OkStatus();
}

// Every rank writes rank + 1 into its views; the shards of all replicas then hold the sum over
// ranks on top of what they had (one replica only: replicas are summed once per step).
absl::Status CheckReduce(ShardedParameters& parameters, int unit, int slot) {
  const int world_size = parameters.communicator().world_size();
  const int rounds = parameters.grid().replicas == 1 ? 2 : 1;
  for (int round = 1; round <= rounds; ++round) {
    parameters.ClearGradient(unit, slot);
    for (size_t i = 0; i < parameters.GradientViews(unit, slot).size(); ++i) {
      at::Tensor view = parameters.GradientViews(unit, slot)[i];
      const bool trainable = parameters.model().units[unit].parameters[i].trainable;
      RETURN_IF_ERROR(Expect(view.defined() == trainable, "views of what is trainable"));
      if (trainable) view.add_(parameters.communicator().rank() + 1);
    }
    RETURN_IF_ERROR(parameters.Reduce(unit, slot, /*sums_replicas=*/true));
    const bool accumulates = parameters.strategy() != layout::Strategy::kNoShard;
    const float expected =
        static_cast<float>((accumulates ? round : 1) * world_size * (world_size + 1) / 2);
    const at::Tensor& shard = parameters.GradientShard(unit);
    const int rank = parameters.shard_rank();
    RETURN_IF_ERROR(CheckPaddingIsZero(parameters.layout(), unit, rank, shard));
    for (const layout::Interval& used : parameters.layout().UsedIntervals(unit, rank)) {
      for (int64_t i = used.begin; i < used.end; ++i) {
        RETURN_IF_ERROR(Expect(shard.data_ptr<float>()[i] == expected, "a sum over ranks"));
      }
    }
  }
  return absl::OkStatus();
}

// A value that each rank of a copy of the model counts once.
absl::Status CheckSumOverShards(ShardedParameters& parameters) {
  std::vector<double> values = {1};
  RETURN_IF_ERROR(parameters.SumOverShards(absl::MakeSpan(values)));
  return Expect(values[0] == parameters.grid().shards, "one value per shard");
}

absl::Status RoundTrip(const comm::RankContext& context, const layout::ModelDescription& model,
                       layout::Strategy strategy) {
  const layout::RankGrid grid = GridOf(strategy, context.world_size);
  ASSIGN_OR_RETURN(const layout::FlatLayout layout, layout::FlatLayout::Create(model, grid.shards));
  ASSIGN_OR_RETURN(
      const std::unique_ptr<comm::LocalCommunicator> communicator,
      comm::LocalCommunicator::Create(
          {.rank = context.rank,
           .world_size = context.world_size,
           .memfd = context.memfd,
           .region_elements = layout::CommunicatorRegionElements(layout, context.world_size)}));
  ASSIGN_OR_RETURN(
      const std::unique_ptr<ShardedParameters> parameters,
      ShardedParameters::Create(model, layout, *communicator,
                                {.gathered_slots = 2, .gradient_slots = 1, .strategy = strategy}));
  parameters->Initialize(kSeed);
  for (int unit = 0; unit < layout.num_units(); ++unit) {
    RETURN_IF_ERROR(
        CheckPaddingIsZero(layout, unit, parameters->shard_rank(), parameters->MasterShard(unit)));
    const bool own_slot = layout::HasSlotPerUnit(strategy) || unit == 0;
    RETURN_IF_ERROR(
        CheckGather(*parameters, unit, own_slot ? unit : std::min(2, layout.num_units() - 1)));
    RETURN_IF_ERROR(CheckReduce(*parameters, unit, own_slot ? unit : 1));
  }
  RETURN_IF_ERROR(CheckSumOverShards(*parameters));
  parameters->ClearGradientShards();
  return Expect(parameters->GradientShard(0).abs().sum().item<float>() == 0, "cleared shards");
}

// The argument: model and strategy.
const comm::RankBodyRegistration kRoundTrip("round_trip",
                                            [](const comm::RankContext& context) -> absl::Status {
                                              const std::vector<std::string> words =
                                                  absl::StrSplit(context.argument, ' ');
                                              return RoundTrip(context, ModelNamed(words[0]),
                                                               *layout::FindStrategy(words[1]));
                                            });

class ShardedParametersTest
    : public ::testing::TestWithParam<std::tuple<std::string, layout::NamedStrategy, int>> {};

TEST_P(ShardedParametersTest, GathersReducesAndKeepsPaddingZero) {
  const auto& [name, strategy, world_size] = GetParam();
  const layout::FlatLayout layout =
      *layout::FlatLayout::Create(ModelNamed(name), GridOf(strategy.strategy, world_size).shards);
  comm::RankProcesses ranks({.body = "round_trip",
                             .world_size = world_size,
                             .memfd_bytes = layout::CommunicatorBytes(layout, world_size),
                             .argument = absl::StrCat(name, " ", strategy.name)});
  EXPECT_TRUE(ranks.AllSucceed());
}

std::string NameOf(const ::testing::TestParamInfo<ShardedParametersTest::ParamType>& info) {
  const auto& [name, strategy, world_size] = info.param;
  return absl::StrCat(name, "_", strategy.name, "_", world_size, "_ranks");
}

INSTANTIATE_TEST_SUITE_P(WorldSizes, ShardedParametersTest,
                         ::testing::Combine(::testing::Values("gpt2", "ten"),
                                            ::testing::Values(layout::kStrategies[0]),
                                            ::testing::Values(1, 2, 3, 4, 8)),
                         NameOf);

INSTANTIATE_TEST_SUITE_P(Strategies, ShardedParametersTest,
                         ::testing::Combine(::testing::Values("ten", "frozen"),
                                            ::testing::ValuesIn(layout::kStrategies),
                                            ::testing::Values(1, 3, 4)),
                         NameOf);

}  // namespace
}  // namespace sotto::fsdp

int main(int argc, char** argv) { return sotto::comm::RankTestMain(argc, argv); }
