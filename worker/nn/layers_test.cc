// The four verbs of every layer against autograd in float64, one example at a time.
#include <cmath>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "torch/torch.h"
#include "worker/nn/conv2d.h"
#include "worker/nn/embedding.h"
#include "worker/nn/group_norm.h"
#include "worker/nn/layer_norm.h"
#include "worker/nn/linear.h"
#include "worker/nn/rms_norm.h"

namespace sotto::nn {
namespace {

using Shapes = std::vector<std::vector<int64_t>>;
using Tensors = std::vector<torch::Tensor>;

struct LayerCase {
  std::string name;
  std::function<std::unique_ptr<Layer>()> make;
  Shapes parameters;
  std::vector<int64_t> input;  // [B, ...]
  // In the dtype of its arguments; the input is int64 for embeddings.
  std::function<torch::Tensor(const Tensors& parameters, const torch::Tensor& input)> reference;
  int64_t vocabulary = 0;  // of an input of tokens
};

// Keeps the bytes of a case out of messages.
void PrintTo(const LayerCase& c, std::ostream* out) { *out << c.name; }

template <typename LayerType, typename Options>
std::function<std::unique_ptr<Layer>()> Maker(const Options& options) {
  return [options] { return std::make_unique<LayerType>(options); };
}

torch::Tensor Standardised(const torch::Tensor& x) {
  const torch::Tensor centred = x - x.mean(-1, true);
  return centred / torch::sqrt(centred.pow(2).mean(-1, true) + 1e-5);
}

LayerCase LinearCase(std::string name, const Linear::Options& options, std::vector<int64_t> input,
                     int64_t outputs) {
  const bool output_first = options.weight_layout == Linear::WeightLayout::kOutputInput;
  const int64_t inputs = input.back();
  LayerCase result{.name = std::move(name),
                   .make = Maker<Linear>(options),
                   .parameters = {output_first ? std::vector<int64_t>{outputs, inputs}
                                               : std::vector<int64_t>{inputs, outputs}},
                   .input = std::move(input)};
  if (options.bias != Linear::kNoBias) result.parameters.push_back({outputs});
  result.reference = [output_first](const Tensors& p, const torch::Tensor& x) {
    const torch::Tensor y = x.matmul(output_first ? p[0].t() : p[0]);
    return p.size() > 1 ? y + p[1] : y;
  };
  return result;
}

LayerCase ConvCase(std::string name, const Conv2d::Options& options, std::vector<int64_t> input,
                   int64_t outputs) {
  LayerCase result{
      .name = std::move(name),
      .make = Maker<Conv2d>(options),
      .parameters = {{outputs, input[1] / options.groups, options.kernel[0], options.kernel[1]}},
      .input = std::move(input)};
  if (options.bias != Conv2d::kNoBias) result.parameters.push_back({outputs});
  // Written out: a sum over the kernel's places of shifted, strided images.
  result.reference = [options](const Tensors& p, const torch::Tensor& x) {
    const auto& [kernel, stride, padding] =
        std::tie(options.kernel, options.stride, options.padding);
    const torch::Tensor padded =
        torch::constant_pad_nd(x, {padding[1], padding[1], padding[0], padding[0]});
    const int64_t height = (padded.size(2) - kernel[0]) / stride[0] + 1;
    const int64_t width = (padded.size(3) - kernel[1]) / stride[1] + 1;
    const int64_t own = x.size(1) / options.groups;
    const int64_t outputs = p[0].size(0) / options.groups;
    std::vector<torch::Tensor> groups;
    for (int64_t g = 0; g < options.groups; ++g) {
      torch::Tensor sum;
      for (int64_t i = 0; i < kernel[0]; ++i) {
        for (int64_t j = 0; j < kernel[1]; ++j) {
          const torch::Tensor seen = padded.slice(1, g * own, (g + 1) * own)
                                         .slice(2, i, i + (height - 1) * stride[0] + 1, stride[0])
                                         .slice(3, j, j + (width - 1) * stride[1] + 1, stride[1]);
          const torch::Tensor weight =
              p[0].slice(0, g * outputs, (g + 1) * outputs).select(3, j).select(2, i);
          const torch::Tensor term = torch::einsum("bchw,oc->bohw", {seen, weight});
          sum = sum.defined() ? sum + term : term;
        }
      }
      groups.push_back(sum);
    }
    const torch::Tensor y = torch::cat(groups, 1);
    return p.size() > 1 ? y + p[1].view({1, -1, 1, 1}) : y;
  };
  return result;
}

std::vector<LayerCase> LinearCases() {
  constexpr auto kOutputInput = Linear::WeightLayout::kOutputInput;
  return {
      LinearCase("Linear", {}, {3, 7, 10}, 6),
      LinearCase("LinearBias", {.weight = 0, .bias = 1}, {3, 7, 10}, 6),
      LinearCase("LinearOutputInput", {.weight = 0, .bias = 1, .weight_layout = kOutputInput},
                 {3, 40, 5}, 9),
      LinearCase("LinearOneToken", {.weight = 0, .bias = 1}, {4, 1, 8}, 12),
      LinearCase("LinearOneExample", {.weight = 0, .bias = 1}, {1, 5, 8}, 12),
      LinearCase("LinearFrozenWeight", {.weight = 0, .bias = 1, .weight_frozen = true}, {3, 7, 10},
                 6),
      LinearCase("LinearFrozenBias", {.weight = 0, .bias = 1, .bias_frozen = true}, {3, 7, 10}, 6)};
}

std::vector<LayerCase> ConvCases() {
  return {
      ConvCase("Conv1x1", {}, {3, 4, 5, 5}, 6),
      ConvCase("ConvPadded", {.bias = 1, .kernel = {3, 3}, .padding = {1, 1}}, {2, 3, 6, 5}, 4),
      ConvCase("ConvStridedRectangle",
               {.bias = 1, .kernel = {3, 2}, .stride = {2, 3}, .padding = {2, 1}}, {3, 2, 7, 9}, 5),
      ConvCase("ConvGroups",
               {.bias = 1, .kernel = {3, 3}, .stride = {1, 2}, .padding = {1, 0}, .groups = 2},
               {3, 6, 5, 7}, 4),
      ConvCase("ConvDepthwise", {.kernel = {2, 2}, .groups = 4}, {2, 4, 4, 4}, 8),
      ConvCase("ConvOnePosition", {.bias = 1, .kernel = {4, 4}}, {3, 3, 4, 4}, 5),
      ConvCase("ConvFrozenWeight", {.bias = 1, .kernel = {2, 2}, .weight_frozen = true},
               {2, 3, 4, 4}, 2)};
}

std::vector<LayerCase> NormCases() {
  const auto layer_norm = [](const Tensors& p, const torch::Tensor& x) {
    return Standardised(x) * p[0] + p[1];
  };
  const auto rms_norm = [](const Tensors& p, const torch::Tensor& x) {
    return x / torch::sqrt(x.pow(2).mean(-1, true) + 1e-5) * p[0];
  };
  const auto group_norm = [](const Tensors& p, const torch::Tensor& x) {
    return Standardised(x.reshape({x.size(0), 3, -1})).view_as(x) * p[0].view({1, -1, 1, 1}) +
           p[1].view({1, -1, 1, 1});
  };
  return {
      {"LayerNorm", Maker<LayerNorm>(LayerNorm::Options{}), {{33}, {33}}, {3, 7, 33}, layer_norm},
      {"LayerNormFrozenGain",
       Maker<LayerNorm>(LayerNorm::Options{.gain_frozen = true}),
       {{33}, {33}},
       {3, 7, 33},
       layer_norm},
      {"LayerNormFrozenBias",
       Maker<LayerNorm>(LayerNorm::Options{.bias_frozen = true}),
       {{33}, {33}},
       {3, 7, 33},
       layer_norm},
      {"RmsNorm", Maker<RmsNorm>(RmsNorm::Options{.epsilon = 1e-5}), {{33}}, {3, 7, 33}, rms_norm},
      {"GroupNorm",
       Maker<GroupNorm>(GroupNorm::Options{.groups = 3}),
       {{6}, {6}},
       {3, 6, 4, 5},
       group_norm},
      {"GroupNormFrozenGain",
       Maker<GroupNorm>(GroupNorm::Options{.groups = 3, .gain_frozen = true}),
       {{6}, {6}},
       {3, 6, 4, 5},
       group_norm}};
}

std::vector<LayerCase> EmbeddingCases() {
  const auto rows = [](const Tensors& p, const torch::Tensor& x) {
    return p[0].index_select(0, x.flatten()).view({x.size(0), x.size(1), -1});
  };
  const auto positions = [](const Tensors& p, const torch::Tensor& x) {
    return x + p[0].slice(0, 0, x.size(1));
  };
  return {
      {"Embedding", Maker<Embedding>(EmbeddingOptions{}), {{11, 8}}, {3, 20}, rows, 11},
      {"EmbeddingOneTokenAlways", Maker<Embedding>(EmbeddingOptions{}), {{11, 8}}, {3, 9}, rows, 1},
      {"Positions", Maker<PositionEmbedding>(EmbeddingOptions{}), {{9, 8}}, {3, 6, 8}, positions}};
}

std::vector<LayerCase> Cases() {
  std::vector<LayerCase> cases;
  for (const auto& make : {LinearCases, ConvCases, NormCases, EmbeddingCases}) {
    for (LayerCase& layer_case : make()) cases.push_back(std::move(layer_case));
  }
  return cases;
}

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

INSTANTIATE_TEST_SUITE_P(Layers, LayersTest, ::testing::ValuesIn(Cases()),
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

INSTANTIATE_TEST_SUITE_P(Layers, Bfloat16LayersTest, ::testing::ValuesIn(Cases()),
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
