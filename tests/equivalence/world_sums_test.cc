// The first step's sum: every gradient mode, under every strategy and at several world sizes,
// against the fp64 oracle, on a model with all kinds of layers, frozen parts and a unit of one
// parameter.
#include "tests/equivalence/world_sums.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "ATen/Functions.h"
#include "absl/strings/str_cat.h"
#include "common/layout/flat_layout.h"
#include "gtest/gtest.h"
#include "worker/comm/testing/rank_processes.h"

namespace sotto::equivalence {
namespace {

// Sums per tensor: ||d|| <= 1e-5 ||S_tensor|| + 1e-6 ||S||.
constexpr double kOfTensor = 1e-5;
constexpr double kOfSum = 1e-6;

double NormOf(const UnitTensors& tensors) {
  double norm_sq = 0;
  for (const std::vector<at::Tensor>& unit : tensors) {
    for (const at::Tensor& tensor : unit) {
      if (tensor.defined()) norm_sq += tensor.square().sum().item<double>();
    }
  }
  return std::sqrt(norm_sq);
}

void ExpectNear(const std::string& name, const layout::ModelDescription& model,
                const FlatSums& actual, const UnitTensors& expected) {
  const layout::FlatLayout layout = *layout::FlatLayout::Create(model, 1);
  const double whole = NormOf(expected);
  for (int unit = 0; unit < layout.num_units(); ++unit) {
    for (size_t i = 0; i < layout.unit(unit).parameters.size(); ++i) {
      const layout::ParameterLayout& place = layout.unit(unit).parameters[i];
      if (!place.trainable) continue;
      double difference_sq = 0, norm_sq = 0;
      const at::Tensor flat = expected[unit][i].contiguous().view(-1);
      for (int64_t element = 0; element < place.elements; ++element) {
        const double value = flat.data_ptr<double>()[element];
        const double difference = actual[unit][place.offset + element] - value;
        difference_sq += difference * difference;
        norm_sq += value * value;
      }
      EXPECT_LE(std::sqrt(difference_sq), kOfTensor * std::sqrt(norm_sq) + kOfSum * whole)
          << name << ": " << model.units[unit].parameters[i].name << ", norm " << std::sqrt(norm_sq)
          << " of " << whole;
    }
  }
}

double MedianNorm(const std::vector<ExampleGradient>& examples) {
  std::vector<double> norms;
  for (const ExampleGradient& example : examples) norms.push_back(example.norm);
  std::nth_element(norms.begin(), norms.begin() + norms.size() / 2, norms.end());
  return norms[norms.size() / 2];
}

class WorldSumsTest : public ::testing::TestWithParam<bool> {};

TEST_P(WorldSumsTest, EqualTheOracleAndUnderFullShardEachOtherBitForBit) {
  const bool tied_head = GetParam();
  const layout::ModelDescription model = SumModel(tied_head);
  const std::vector<ExampleGradient> oracle = OracleGradients(model);
  const double clip_norm = MedianNorm(oracle);  // Half of the examples are clipped.
  const UnitTensors clipped = ClippedSum(oracle, clip_norm);
  const UnitTensors unclipped = ClippedSum(oracle, std::numeric_limits<double>::infinity());
  std::map<std::string, FlatSums> at_one_rank;
  for (int world_size : {1, 2, 3, 4, 8}) {
    const std::vector<SumCase> cases = CasesOf(world_size);
    const std::vector<FlatSums> sums = SumInWorld(world_size, tied_head, clip_norm);
    ASSERT_EQ(sums.size(), cases.size()) << world_size << " ranks";
    for (size_t i = 0; i < cases.size(); ++i) {
      const std::string name = absl::StrCat(cases[i].name, " on ", world_size, " ranks");
      const bool clips = cases[i].mode.norm != layout::Norm::kNone;
      ExpectNear(name, model, sums[i], clips ? clipped : unclipped);
      if (cases[i].strategy != layout::Strategy::kFullShard) continue;
      if (world_size == 1) at_one_rank[cases[i].name] = sums[i];
      EXPECT_EQ(sums[i], at_one_rank[cases[i].name]) << name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Heads, WorldSumsTest, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "tied" : "untied"; });

}  // namespace
}  // namespace sotto::equivalence

int main(int argc, char** argv) { return sotto::comm::RankTestMain(argc, argv); }
