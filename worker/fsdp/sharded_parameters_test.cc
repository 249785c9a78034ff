// Ranks as processes: gathers, reductions and initial values at several world sizes.
#include "worker/fsdp/sharded_parameters.h"

#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "ATen/ops/equal.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/layout/gpt2_description.h"
#include "common/layout/init_values.h"
#include "common/layout/memory.h"
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

layout::ModelDescription ModelNamed(const std::string& name) {
  return name == "ten" ? TenElements() : Gpt2();
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

// Every rank writes rank + 1 into its views; the shard then holds their sum on top of what it had.
absl::Status CheckReduce(ShardedParameters& parameters, int unit, int slot) {
  const int rank = parameters.communicator().rank();
  const int world_size = parameters.communicator().world_size();
  for (int round = 1; round <= 2; ++round) {
    parameters.ClearGradient(unit, slot);
    for (const at::Tensor& view : parameters.GradientViews(unit, slot)) view.add_(rank + 1);
    RETURN_IF_ERROR(parameters.Reduce(unit, slot));
    const float expected = static_cast<float>(round * world_size * (world_size + 1) / 2);
    const at::Tensor& shard = parameters.GradientShard(unit);
    RETURN_IF_ERROR(CheckPaddingIsZero(parameters.layout(), unit, rank, shard));
    for (const layout::Interval& used : parameters.layout().UsedIntervals(unit, rank)) {
      for (int64_t i = used.begin; i < used.end; ++i) {
        RETURN_IF_ERROR(Expect(shard.data_ptr<float>()[i] == expected, "a sum over ranks"));
      }
    }
  }
  return absl::OkStatus();
}

const comm::RankBodyRegistration kRoundTrip(
    "round_trip", [](const comm::RankContext& context) -> absl::Status {
      const layout::ModelDescription model = ModelNamed(context.argument);
      ASSIGN_OR_RETURN(const layout::FlatLayout layout,
                       layout::FlatLayout::Create(model, context.world_size));
      ASSIGN_OR_RETURN(const std::unique_ptr<comm::LocalCommunicator> communicator,
                       comm::LocalCommunicator::Create(
                           {.rank = context.rank,
                            .world_size = context.world_size,
                            .memfd = context.memfd,
                            .region_elements = layout::CommunicatorRegionElements(layout)}));
      ASSIGN_OR_RETURN(const std::unique_ptr<ShardedParameters> parameters,
                       ShardedParameters::Create(model, layout, *communicator,
                                                 {.gathered_slots = 2, .gradient_slots = 1}));
      parameters->Initialize(kSeed);
      for (int unit = 0; unit < layout.num_units(); ++unit) {
        RETURN_IF_ERROR(
            CheckPaddingIsZero(layout, unit, context.rank, parameters->MasterShard(unit)));
        const int last_slot = unit == 0 ? 0 : std::min(2, layout.num_units() - 1);
        RETURN_IF_ERROR(CheckGather(*parameters, unit, last_slot));
        RETURN_IF_ERROR(CheckReduce(*parameters, unit, unit == 0 ? 0 : 1));
      }
      parameters->ClearGradientShards();
      return Expect(parameters->GradientShard(0).abs().sum().item<float>() == 0, "cleared shards");
    });

class ShardedParametersTest : public ::testing::TestWithParam<std::tuple<std::string, int>> {};

TEST_P(ShardedParametersTest, GathersReducesAndKeepsPaddingZero) {
  const auto& [name, world_size] = GetParam();
  const layout::FlatLayout layout = *layout::FlatLayout::Create(ModelNamed(name), world_size);
  comm::RankProcesses ranks({.body = "round_trip",
                             .world_size = world_size,
                             .memfd_bytes = layout::CommunicatorBytes(layout),
                             .argument = name});
  EXPECT_TRUE(ranks.AllSucceed());
}

INSTANTIATE_TEST_SUITE_P(WorldSizes, ShardedParametersTest,
                         ::testing::Combine(::testing::Values("gpt2", "ten"),
                                            ::testing::Values(1, 2, 3, 4, 8)),
                         [](const auto& info) {
                           return absl::StrCat(std::get<0>(info.param), "_",
                                               std::get<1>(info.param), "_ranks");
                         });

}  // namespace
}  // namespace sotto::fsdp

int main(int argc, char** argv) { return sotto::comm::RankTestMain(argc, argv); }
