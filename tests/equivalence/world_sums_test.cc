// The first step's norms and sum: every gradient mode, under every strategy and at several world
// sizes, against the fp64 oracle, on a model with all kinds of layers, frozen parts and a unit of
// one parameter.
#include "tests/equivalence/world_sums.h"

#include <algorithm>
#include <cmath>
#include <iostream>
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

// The sum under another strategy: relative L2 from FULL_SHARD's on one rank.
constexpr double kOfStrategies = 1e-6;

// Norms per example: |d| <= 1e-5 n + 1e-7 of the largest.
constexpr double kOfNorm = 1e-5;
constexpr double kOfLargest = 1e-7;

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

// ||a - b|| / ||b||.
double RelativeDistance(const FlatSums& a, const FlatSums& b) {
  double difference_sq = 0, norm_sq = 0;
  for (size_t unit = 0; unit < b.size(); ++unit) {
    for (size_t i = 0; i < b[unit].size(); ++i) {
      const double difference = static_cast<double>(a[unit][i]) - b[unit][i];
      difference_sq += difference * difference;
      norm_sq += static_cast<double>(b[unit][i]) * b[unit][i];
    }
  }
  return std::sqrt(difference_sq / norm_sq);
}

double MedianNorm(const std::vector<ExampleGradient>& examples) {
  std::vector<double> norms;
  for (const ExampleGradient& example : examples) norms.push_back(example.norm);
  std::nth_element(norms.begin(), norms.begin() + norms.size() / 2, norms.end());
  return norms[norms.size() / 2];
}

// Whichever rank has the example.
void ExpectNorms(const std::string& name, const std::vector<std::vector<double>>& norms_RB,
                 const std::vector<ExampleGradient>& oracle, int world_size) {
  double largest = 0;
  for (const ExampleGradient& example : oracle) largest = std::max(largest, example.norm);
  ASSERT_EQ(norms_RB.size(), static_cast<size_t>(world_size)) << name;
  for (int rank = 0; rank < world_size; ++rank) {
    const std::vector<double> expected_B = LastNorms(oracle, world_size, rank);
    ASSERT_EQ(norms_RB[rank].size(), expected_B.size()) << name << ", rank " << rank;
    for (size_t b = 0; b < expected_B.size(); ++b) {
      EXPECT_NEAR(norms_RB[rank][b], expected_B[b], kOfNorm * expected_B[b] + kOfLargest * largest)
          << name << ", rank " << rank << ", example " << b;
    }
  }
}

class WorldSumsTest : public ::testing::TestWithParam<bool> {};

TEST_P(WorldSumsTest, EqualTheOracleAndUnderFullShardEachOtherBitForBit) {
  const bool tied_head = GetParam();
  const layout::ModelDescription model = SumModel(tied_head);
  const std::vector<ExampleGradient> oracle = OracleGradients(model);
  const double clip_norm = MedianNorm(oracle);  // Half of the examples are clipped.
  const UnitTensors clipped = ClippedSum(oracle, clip_norm);
  const UnitTensors unclipped = ClippedSum(oracle, std::numeric_limits<double>::infinity());
  std::map<std::string, FlatSums> at_one_rank;  // by mode
  double farthest = 0;
  for (int world_size : {1, 2, 3, 4, 8}) {
    const std::vector<SumCase> cases = CasesOf(world_size, tied_head);
    const std::vector<SumResult> results = SumInWorld(world_size, tied_head, clip_norm);
    ASSERT_EQ(results.size(), cases.size()) << world_size << " ranks";
    for (size_t i = 0; i < cases.size(); ++i) {
      const std::string name = absl::StrCat(cases[i].name, " on ", world_size, " ranks");
      const bool clips = cases[i].mode.norm != layout::Norm::kNone;
      ExpectNear(name, model, results[i].sums, clips ? clipped : unclipped);
      if (clips) ExpectNorms(name, results[i].norms_RB, oracle, world_size);
      // FULL_SHARD comes first, and one rank does.
      const std::string mode = cases[i].name.substr(cases[i].name.find(' '));
      const auto reference = at_one_rank.emplace(mode, results[i].sums).first;
      const double distance = RelativeDistance(results[i].sums, reference->second);
      if (cases[i].strategy == layout::Strategy::kFullShard) {
        EXPECT_EQ(results[i].sums, reference->second) << name;
        continue;
      }
      EXPECT_LE(distance, kOfStrategies) << name;
      farthest = std::max(farthest, distance);
    }
  }
  std::cout << "strategies from FULL_SHARD on one rank: at most " << farthest << std::endl;
  EXPECT_GT(farthest, 0);  // They do add in another order.
}

INSTANTIATE_TEST_SUITE_P(Heads, WorldSumsTest, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "tied" : "untied"; });

}  // namespace
}  // namespace sotto::equivalence

int main(int argc, char** argv) { return sotto::comm::RankTestMain(argc, argv); }
