// One rank trains like an independent loop: double precision, autograd, one example at a time,
// AdamW written out.
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status_matchers.h"
#include "common/dataset/token_file.h"
#include "common/layout/init_values.h"
#include "common/spec/model_layout.h"
#include "gtest/gtest.h"
#include "tests/equivalence/autograd_model.h"
#include "tests/equivalence/training_run.h"
#include "worker/comm/testing/rank_processes.h"

namespace sotto::equivalence {
namespace {

using Tensors = std::map<std::string, torch::Tensor>;

Tensors InitialParameters(const v1::JobPlan& plan, const layout::ModelDescription& model) {
  Tensors parameters;
  int64_t index = 0;
  for (const layout::UnitDescription& unit : model.units) {
    for (const layout::ParameterDescription& parameter : unit.parameters) {
      torch::Tensor values = torch::empty(parameter.shape);
      layout::FillInitialValues(parameter, plan.spec().model().init_seed(), index++, 0,
                                {values.data_ptr<float>(), static_cast<size_t>(values.numel())});
      parameters[parameter.name] = values.to(torch::kDouble).requires_grad_();
    }
  }
  return parameters;
}

struct Example {
  std::vector<int64_t> tokens;
  std::vector<float> scored;
};

std::vector<Example> ReadExamples(const std::string& path) {
  const auto file = *dataset::TokenFile::Open(path);
  std::vector<Example> examples;
  for (int64_t record = 0; record < file->num_records(); ++record) {
    Example example{.tokens = std::vector<int64_t>(file->Length(record)),
                    .scored = std::vector<float>(file->Length(record))};
    file->Read(record, absl::MakeSpan(example.tokens), absl::MakeSpan(example.scored));
    examples.push_back(std::move(example));
  }
  return examples;
}

// Adds the example's gradient, clipped to `clip_norm` (infinite: not at all), to `sums`. Returns
// its loss.
double AddGradient(AutogradGpt2& model, const Example& example, double clip_norm, Tensors& sums) {
  for (auto& [name, parameter] : model.parameters()) parameter.mutable_grad() = torch::Tensor();
  const torch::Tensor loss = model.Loss(example.tokens, example.scored);
  if (!loss.requires_grad()) return 0;
  loss.backward();
  double norm_sq = 0;
  for (auto& [name, parameter] : model.parameters()) {
    if (parameter.grad().defined()) norm_sq += parameter.grad().square().sum().item<double>();
  }
  const double factor = std::min(1.0, clip_norm / std::sqrt(norm_sq));
  for (auto& [name, parameter] : model.parameters()) {
    if (parameter.grad().defined()) sums[name] += factor * parameter.grad();
  }
  return loss.item<double>();
}

struct Case {
  std::string mode;
  bool tied_head;
};

class AutogradTest : public ::testing::TestWithParam<Case> {};

TEST_P(AutogradTest, TenStepsEqualAnIndependentLoop) {
  // Every record in every step. Adam divides by sqrt(v) + epsilon: with the default 1e-8 it would
  // blow up the rounding of gradients that are truly zero (key biases) to the size of a step, and
  // the comparison would say nothing.
  const RunOptions options{.mode = GetParam().mode,
                           .records = 16,
                           .sampling_rate = 1,
                           .clip_norm = 2,
                           .tied_head = GetParam().tied_head,
                           .adam_epsilon = 1e-4};
  const std::string directory = *MakeTempDir(absl::StrCat(::testing::TempDir(), "/sotto-"));
  const RunResult ours = Train(directory, options);
  ASSERT_TRUE(ours.succeeded);

  const v1::JobPlan plan = MakePlan(directory, options);
  const layout::ModelDescription description = *spec::DescribeModel(plan.spec().model());
  const auto& gpt2 = std::get<layout::Gpt2Dimensions>(description.family);
  AutogradGpt2 model(InitialParameters(plan, description), gpt2.layers, gpt2.heads);
  const std::vector<Example> examples = ReadExamples(plan.dataset().path());
  const double clip_norm = options.mode == "no_dp" ? INFINITY : plan.privacy().clip_norm_applied();
  const double rate = plan.spec().train().learning_rate().peak();
  const double decay = plan.spec().train().optimizer().adamw().weight_decay();
  Tensors m, v;
  for (auto& [name, parameter] : model.parameters()) {
    m[name] = torch::zeros_like(parameter);
    v[name] = torch::zeros_like(parameter);
  }
  for (int step = 0; step < 10; ++step) {
    Tensors sums;
    for (auto& [name, parameter] : model.parameters()) sums[name] = torch::zeros_like(parameter);
    double loss_sum = 0;
    for (const Example& example : examples)
      loss_sum += AddGradient(model, example, clip_norm, sums);
    EXPECT_NEAR(ours.losses[step], loss_sum / examples.size(), 1e-5) << "step " << step;
    const torch::NoGradGuard no_grad;
    for (auto& [name, parameter] : model.parameters()) {
      const torch::Tensor gradient = sums[name] / static_cast<double>(examples.size());
      m[name] = 0.9 * m[name] + 0.1 * gradient;
      v[name] = 0.999 * v[name] + 0.001 * gradient.square();
      const torch::Tensor m_hat = m[name] / (1 - std::pow(0.9, step + 1));
      const torch::Tensor v_hat = v[name] / (1 - std::pow(0.999, step + 1));
      const double own_decay = parameter.dim() == 2 ? decay : 0;
      parameter -= rate * (m_hat / (v_hat.sqrt() + options.adam_epsilon) + own_decay * parameter);
    }
  }

  size_t position = 0;
  for (const layout::UnitDescription& unit : description.units) {
    for (const layout::ParameterDescription& parameter : unit.parameters) {
      const torch::Tensor expected = model.parameters().at(parameter.name).detach().flatten();
      const torch::Tensor actual = torch::from_blob(
          const_cast<float*>(ours.parameters.data()) + position, {expected.numel()});
      EXPECT_LT((actual.to(torch::kDouble) - expected).abs().max().item<double>(), 1e-5)
          << parameter.name;
      position += static_cast<size_t>(expected.numel());
    }
  }
  EXPECT_EQ(position, ours.parameters.size());
}

INSTANTIATE_TEST_SUITE_P(Modes, AutogradTest,
                         ::testing::Values(Case{"no_dp", true}, Case{"no_dp", false},
                                           Case{"per_example", true}, Case{"per_example", false},
                                           Case{"flash", true}, Case{"flash", false}),
                         [](const auto& info) {
                           return absl::StrCat(info.param.mode,
                                               info.param.tied_head ? "_tied" : "_untied");
                         });

}  // namespace
}  // namespace sotto::equivalence

int main(int argc, char** argv) {
  at::set_num_threads(
      1);  // Tensors of a few hundred elements: threads would only wait for each other.
  return sotto::comm::RankTestMain(argc, argv);
}
