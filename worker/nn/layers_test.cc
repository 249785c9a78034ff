// The four verbs of every layer against autograd in float64, one example at a time.
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "torch/torch.h"
#include "worker/nn/layer_cases.h"

namespace sotto::nn {
namespace {

double Distance(const torch::Tensor& actual, const torch::Tensor& expected) {
  return (actual.to(torch::kDouble) - expected).norm().item<double>();
}

// One micro-batch through a layer in `dtype`, and the same in float64 from the same values.
class LayerRun {
 public:
  LayerRun(const LayerCase& layer_case, torch::ScalarType dtype)
      : case_(layer_case), layer_(layer_case.make()) {
    torch::manual_seed(5);
    for (const std::vector<int64_t>& shape : case_.parameters) {
      parameters_.push_back(torch::randn(shape).to(dtype));
    }
    input_ = case_.vocabulary > 0 ? torch::randint(case_.vocabulary, case_.input, torch::kLong)
                                  : torch::randn(case_.input).to(dtype);
    output_ = layer_->Forward(parameters_, input_, &saved_);
    output_grads_ = torch::randn(output_.sizes()).to(dtype);
    MakeReference();
  }

  const Layer& layer() const { return *layer_; }
  const Tensors& parameters() const { return parameters_; }
  const SavedInput& saved() const { return saved_; }
  const torch::Tensor& output() const { return output_; }
  const torch::Tensor& output_grads() const { return output_grads_; }
  int64_t examples() const { return input_.size(0); }

  // float64.
  const torch::Tensor& expected_output() const { return expected_output_; }
  const torch::Tensor& expected_input_grads() const { return expected_input_grads_; }
  // By example and position in the unit.
  const Tensors& expected_gradients(int64_t b) const { return expected_gradients_[b]; }
  double expected_norm_sq(int64_t b) const {
    double sum = 0;
    for (int p : layer_->parameters()) {
      sum += expected_gradients_[b][p].pow(2).sum().item<double>();
    }
    return sum;
  }
  // Zeroed float32 gradients, undefined for what is frozen.
  Tensors NewGradients() const {
    Tensors gradients(parameters_.size());
    for (int p : layer_->parameters()) gradients[p] = torch::zeros(case_.parameters[p]);
    return gradients;
  }

 private:
  void MakeReference() {
    const bool has_input_grads = case_.vocabulary == 0;
    std::vector<torch::Tensor> outputs, input_grads;
    for (int64_t b = 0; b < examples(); ++b) {
      Tensors leaves;
      for (const torch::Tensor& parameter : parameters_) {
        leaves.push_back(parameter.to(torch::kDouble).clone().requires_grad_(true));
      }
      const Tensors own = leaves;
      torch::Tensor input = input_.narrow(0, b, 1);
      if (has_input_grads) {
        input = input.to(torch::kDouble).clone().requires_grad_(true);
        leaves.push_back(input);
      }
      const torch::Tensor output = case_.reference(own, input);
      Tensors gradients = torch::autograd::grad({output}, leaves,
                                                {output_grads_.narrow(0, b, 1).to(torch::kDouble)});
      outputs.push_back(output.detach());
      if (has_input_grads) {
        input_grads.push_back(gradients.back());
        gradients.pop_back();
      }
      expected_gradients_.push_back(gradients);
    }
    expected_output_ = torch::cat(outputs);
    if (has_input_grads) expected_input_grads_ = torch::cat(input_grads);
  }

  const LayerCase& case_;
  const std::unique_ptr<Layer> layer_;
  Tensors parameters_;
  torch::Tensor input_;
  SavedInput saved_;
  torch::Tensor output_;
  torch::Tensor output_grads_;
  torch::Tensor expected_output_;
  torch::Tensor expected_input_grads_;
  std::vector<Tensors> expected_gradients_;
};

class LayersTest : public ::testing::TestWithParam<LayerCase> {
 protected:
  // Tensors of a few hundred elements: threads would only wait for each other.
  static void SetUpTestSuite() { torch::set_num_threads(1); }

  const LayerRun run_{GetParam(), torch::kFloat};
};

INSTANTIATE_TEST_SUITE_P(Layers, LayersTest, ::testing::ValuesIn(LayerCases()),
                         [](const auto& info) { return info.param.name; });

constexpr NormForm kForms[] = {NormForm::kGram, NormForm::kTiled, NormForm::kFromGradient};

// Norms and weight gradients are float32 computations on the values as they are, whatever the dtype
// of these.
void ExpectNorms(const LayerRun& run) {
  for (NormForm form : kForms) {
    const torch::Tensor norm_sq = torch::ones({run.examples()}, torch::kDouble);
    const torch::Tensor fused = torch::ones({run.examples()}, torch::kDouble);
    run.layer().AddExampleNormSq(run.saved(), run.output_grads(), form, norm_sq);
    run.layer().BackwardInputWithNormSq(run.parameters(), run.saved(), run.output_grads(), form,
                                        fused);
    for (int64_t b = 0; b < run.examples(); ++b) {
      const double expected = run.expected_norm_sq(b);
      EXPECT_NEAR(norm_sq[b].item<double>() - 1, expected, 2e-5 * expected);
      EXPECT_NEAR(fused[b].item<double>() - 1, expected, 2e-5 * expected);
    }
  }
}

void ExpectWeightGrads(const LayerRun& run) {
  const torch::Tensor coefficients = torch::linspace(0, 1.5, run.examples());
  for (bool scaled : {true, false}) {
    const Tensors gradients = run.NewGradients();
    run.layer().WeightGrad(run.saved(), run.output_grads(), scaled ? coefficients : torch::Tensor(),
                           gradients);
    run.layer().WeightGrad(run.saved(), run.output_grads(), scaled ? coefficients : torch::Tensor(),
                           gradients);
    for (int p : run.layer().parameters()) {
      torch::Tensor expected = torch::zeros(gradients[p].sizes(), torch::kDouble);
      for (int64_t b = 0; b < run.examples(); ++b) {
        expected +=
            2 * (scaled ? coefficients[b].item<double>() : 1) * run.expected_gradients(b)[p];
      }
      EXPECT_LE(Distance(gradients[p], expected), 1e-5 * expected.norm().item<double>()) << p;
    }
  }
}

TEST_P(LayersTest, OutputAndInputGradsEqualAutograd) {
  EXPECT_LE(Distance(run_.output(), run_.expected_output()),
            1e-5 * run_.expected_output().norm().item<double>());
  const torch::Tensor grads =
      run_.layer().BackwardInput(run_.parameters(), run_.saved(), run_.output_grads());
  const torch::Tensor norm_sq = torch::zeros({run_.examples()}, torch::kDouble);
  const torch::Tensor fused = run_.layer().BackwardInputWithNormSq(
      run_.parameters(), run_.saved(), run_.output_grads(), NormForm::kTiled, norm_sq);
  ASSERT_EQ(grads.defined(), run_.expected_input_grads().defined());
  if (!grads.defined()) return;
  const double whole = run_.expected_input_grads().norm().item<double>();
  EXPECT_LE(Distance(grads, run_.expected_input_grads()), 1e-5 * whole);
  EXPECT_LE(Distance(fused, run_.expected_input_grads()), 1e-5 * whole);
}

TEST_P(LayersTest, NormsOfEveryFormEqualAutograd) { ExpectNorms(run_); }

TEST_P(LayersTest, WeightGradsAreScaledAndAddedToWhatIsThere) { ExpectWeightGrads(run_); }

TEST_P(LayersTest, ExampleGradsOverwriteTheirRows) {
  if (run_.layer().held_form() != HeldForm::kSlab) GTEST_SKIP() << "held as output gradients";
  Tensors slabs(run_.parameters().size());
  for (int p : run_.layer().parameters()) {
    const int64_t elements = run_.parameters()[p].numel();
    slabs[p] = torch::full({run_.examples(), elements + 5}, NAN).narrow(1, 0, elements);
  }
  const torch::Tensor norm_sq = torch::ones({run_.examples()}, torch::kDouble);
  run_.layer().ExampleGrads(run_.saved(), run_.output_grads(), slabs, norm_sq);
  for (int64_t b = 0; b < run_.examples(); ++b) {
    const double expected = run_.expected_norm_sq(b);
    EXPECT_NEAR(norm_sq[b].item<double>() - 1, expected, 2e-5 * expected);
    for (int p : run_.layer().parameters()) {
      const torch::Tensor& gradient = run_.expected_gradients(b)[p];
      EXPECT_LE(Distance(slabs[p][b], gradient.flatten()), 1e-5 * gradient.norm().item<double>());
    }
  }
}

TEST_P(LayersTest, FrozenParametersAreNotListed) {
  const std::string& name = GetParam().name;
  const size_t frozen = name.find("Frozen") == std::string::npos ? 0 : 1;
  EXPECT_EQ(run_.layer().parameters().size(), GetParam().parameters.size() - frozen);
}

class Bfloat16LayersTest : public ::testing::TestWithParam<LayerCase> {
 protected:
  static void SetUpTestSuite() { torch::set_num_threads(1); }

  const LayerRun run_{GetParam(), torch::kBFloat16};
};

INSTANTIATE_TEST_SUITE_P(Layers, Bfloat16LayersTest, ::testing::ValuesIn(LayerCases()),
                         [](const auto& info) { return info.param.name; });

// A value rounded to bfloat16 (8 bits) is off by 2^-8 of itself at most, half of a unit in its last
// place. Outputs are rounded at most twice, before and after a bias is added; what precedes is
// float32, whose error is below 1e-5 of the largest value.
void ExpectRounded(const torch::Tensor& actual, const torch::Tensor& expected, double bias) {
  constexpr double kRounding = 0x1p-8;
  const torch::Tensor error = (actual.to(torch::kDouble) - expected).abs();
  const torch::Tensor bound =
      kRounding * (2 * expected.abs() + bias) + 1e-5 * expected.abs().max().item<double>();
  EXPECT_TRUE((error <= bound).all().item<bool>())
      << "off by " << (error / bound).max().item<double>() << " of the bound";
}

TEST_P(Bfloat16LayersTest, OutputsAndInputGradsAreOnlyRounded) {
  ASSERT_EQ(run_.output().scalar_type(), torch::kBFloat16);
  double bias = 0;
  for (const torch::Tensor& parameter : run_.parameters()) {
    if (parameter.dim() == 1) bias = std::max(bias, parameter.abs().max().item<double>());
  }
  ExpectRounded(run_.output(), run_.expected_output(), bias);
  const torch::Tensor grads =
      run_.layer().BackwardInput(run_.parameters(), run_.saved(), run_.output_grads());
  if (!grads.defined()) return;
  ASSERT_EQ(grads.scalar_type(), torch::kBFloat16);
  ExpectRounded(grads, run_.expected_input_grads(), /*bias=*/0);
}

TEST_P(Bfloat16LayersTest, NormsAreFloat32OfTheRoundedValues) { ExpectNorms(run_); }

TEST_P(Bfloat16LayersTest, WeightGradsAreFloat32OfTheRoundedValues) { ExpectWeightGrads(run_); }

}  // namespace
}  // namespace sotto::nn
