#include "tests/equivalence/reference.h"

#include <algorithm>
#include <cmath>

#include "gtest/gtest.h"

namespace sotto::equivalence {
namespace {

void ExpectEqualSums(const Reference& reference, const UnitTensors& sums,
                     const UnitTensors& expected) {
  double whole_sq = 0;
  for (const std::vector<at::Tensor>& unit : expected) {
    for (const at::Tensor& sum : unit) whole_sq += sum.square().sum().item<double>();
  }
  for (size_t unit = 0; unit < sums.size(); ++unit) {
    for (size_t i = 0; i < sums[unit].size(); ++i) {
      const layout::UnitDescription& description = reference.model.description.units[unit];
      const layout::ParameterDescription& parameter = description.parameters[i];
      ASSERT_EQ(sums[unit][i].defined(), parameter.trainable)
          << description.name << "/" << parameter.name;
      if (!parameter.trainable) continue;
      const at::Tensor& sum = expected[unit][i];
      const double difference = sums[unit][i].to(at::kDouble).sub(sum).norm().item<double>();
      EXPECT_LE(difference, 1e-5 * sum.norm().item<double>() + 1e-6 * std::sqrt(whole_sq))
          << description.name << "/" << parameter.name;
    }
  }
}

}  // namespace

double Reference::ClipNorm() const {
  std::vector<double> norms;
  for (const ExampleGradient& example : examples) norms.push_back(example.norm);
  std::sort(norms.begin(), norms.end());
  const size_t half = norms.size() / 2;
  const double clip_norm = 0.5 * ((half > 0 ? norms[half - 1] : 0) + norms[half]);
  return clip_norm > 0 ? clip_norm : 1;
}

void ExpectLosses(const Reference& reference, const at::Tensor& losses_B) {
  for (size_t b = 0; b < reference.examples.size(); ++b) {
    const double expected = reference.examples[b].loss;
    EXPECT_NEAR(losses_B[b].item<double>(), expected, 1e-5 * (1 + expected)) << "example " << b;
  }
}

void ExpectNorms(const Reference& reference, const ModeRun& run, double of_largest) {
  double largest = 0;
  for (const ExampleGradient& example : reference.examples) {
    largest = std::max(largest, example.norm);
  }
  for (size_t b = 0; b < reference.examples.size(); ++b) {
    const ExampleGradient& expected = reference.examples[b];
    EXPECT_NEAR(std::sqrt(run.norm_sq_B()[b].item<double>()), expected.norm,
                1e-5 * expected.norm + of_largest * largest)
        << "example " << b;
  }
}

void ExpectSums(const Reference& reference, const UnitTensors& sums, FactorOf factor) {
  ExpectEqualSums(reference, sums, ScaledSum(reference.examples, factor));
}

void ExpectSums(const Reference& reference, const UnitTensors& sums, double clip_norm) {
  ExpectEqualSums(reference, sums, ClippedSum(reference.examples, clip_norm));
}

}  // namespace sotto::equivalence
