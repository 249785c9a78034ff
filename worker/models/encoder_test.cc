// What a classifier's micro-batch may hold besides tokens: padding and examples without a label.
#include <memory>
#include <vector>

#include "ATen/CPUGeneratorImpl.h"
#include "ATen/Functions.h"
#include "common/base/status_matchers.h"
#include "common/layout/encoder_description.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "worker/models/model.h"

namespace sotto::models {
namespace {

using Tensors = std::vector<std::vector<at::Tensor>>;  // [unit][parameter]

// Adds every example's gradient, unscaled.
class SummingSink final : public nn::GradientSink {
 public:
  explicit SummingSink(const std::vector<at::Tensor>& gradients) : gradients_(gradients) {}
  void Visit(const nn::Layer& layer, const nn::SavedInput& saved,
             const at::Tensor& output_grads) override {
    layer.WeightGrad(saved, output_grads, at::Tensor(), gradients_);
  }

 private:
  const std::vector<at::Tensor>& gradients_;
};

struct Result {
  at::Tensor losses_B;
  at::Tensor found_label_B;
  Tensors gradients;
};

class EncoderTest : public testing::Test {
 protected:
  EncoderTest() {
    at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(1);
    for (const layout::UnitDescription& unit : description_.units) {
      parameters_.emplace_back();
      for (const layout::ParameterDescription& parameter : unit.parameters) {
        parameters_.back().push_back(at::empty(parameter.shape).normal_(0, 0.3, generator));
      }
    }
  }

  Result Run(const MicroBatch& batch) {
    Result result;
    for (const std::vector<at::Tensor>& unit : parameters_) {
      result.gradients.emplace_back();
      for (const at::Tensor& tensor : unit) {
        result.gradients.back().push_back(at::zeros_like(tensor));
      }
    }
    at::Tensor value;
    for (const auto& stage : model_->stages()) {
      value = stage->Forward(parameters_[stage->unit()], batch, value);
    }
    result.losses_B = value;
    result.found_label_B = model_->stages().back()->found_label_B();
    at::Tensor grads;
    for (size_t i = model_->stages().size(); i-- > 0;) {
      Stage& stage = *model_->stages()[i];
      SummingSink sink(result.gradients[stage.unit()]);
      grads = stage.Backward(parameters_[stage.unit()], batch, grads, sink);
    }
    model_->Release();
    return result;
  }

  const layout::ModelDescription description_ = *layout::MakeEncoderDescription(
      {.vocabulary_size = 11, .width = 8, .layers = 2, .heads = 2, .max_length = 6, .classes = 3});
  const std::unique_ptr<Model> model_ = *Model::Create(description_, {});
  Tensors parameters_;
};

// fp32 sums of a few dozen terms in another order.
constexpr double kTolerance = 1e-5;

TEST_F(EncoderTest, PaddingChangesNeitherLossNorGradients) {
  const at::Tensor tokens = at::arange(4, at::kLong).view({1, 4});
  const at::Tensor label = at::full({1}, 2, at::kLong);
  const Result alone = Run({.tokens_BT = tokens, .example_ids = {0}, .labels_B = label});
  const at::Tensor padded = at::cat({tokens, at::full({1, 2}, 9, at::kLong)}, 1);
  const at::Tensor mask = at::cat({at::ones({1, 4}), at::zeros({1, 2})}, 1);
  const Result with_padding =
      Run({.tokens_BT = padded, .example_ids = {0}, .labels_B = label, .token_mask_BT = mask});
  EXPECT_NEAR(alone.losses_B.item<double>(), with_padding.losses_B.item<double>(), kTolerance);
  for (size_t unit = 0; unit < parameters_.size(); ++unit) {
    for (size_t i = 0; i < parameters_[unit].size(); ++i) {
      const at::Tensor& expected = alone.gradients[unit][i];
      EXPECT_LE(with_padding.gradients[unit][i].sub(expected).norm().item<double>(),
                kTolerance * (1 + expected.norm().item<double>()))
          << description_.units[unit].parameters[i].name;
      EXPECT_GT(expected.norm().item<double>(), 0) << description_.units[unit].parameters[i].name;
    }
  }
}

TEST_F(EncoderTest, ExampleWithoutLabelHasNoLossAndNoGradient) {
  const Result result = Run({.tokens_BT = at::zeros({2, 3}, at::kLong),
                             .example_ids = {-1, -1},
                             .labels_B = at::full({2}, -1, at::kLong),
                             .token_mask_BT = at::zeros({2, 3})});
  EXPECT_EQ(result.losses_B.abs().sum().item<double>(), 0);
  for (const std::vector<at::Tensor>& unit : result.gradients) {
    for (const at::Tensor& gradient : unit) EXPECT_EQ(gradient.abs().sum().item<double>(), 0);
  }
}

// Of one example under each label, exactly the one with the least loss is found.
TEST_F(EncoderTest, TheLabelWithTheLargestOutputIsFound) {
  const at::Tensor tokens = at::arange(4, at::kLong).expand({4, 4}).contiguous();
  const Result result = Run({.tokens_BT = tokens,
                             .example_ids = {0, 1, 2, -1},
                             .labels_B = at::tensor({0, 1, 2, -1}, at::kLong)});
  const int64_t best = result.losses_B.narrow(0, 0, 3).argmin().item<int64_t>();
  for (int64_t b = 0; b < 4; ++b) {
    EXPECT_EQ(result.found_label_B[b].item<bool>(), b == best) << b;
  }
}

// The gradient of the loss along a direction against its difference quotient. With steps of 1e-2
// the quotient's own error is of second order (1e-4 of the third derivative) and fp32 rounding of
// the losses adds 2^-24 / 1e-2.
TEST_F(EncoderTest, GradientIsTheSlopeOfTheLoss) {
  const MicroBatch batch{.tokens_BT = at::arange(10, at::kLong).view({2, 5}),
                         .example_ids = {0, 1},
                         .labels_B = at::arange(2, at::kLong)};
  const Result at_point = Run(batch);
  constexpr double kStep = 1e-2;
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(2);
  for (size_t unit = 0; unit < parameters_.size(); ++unit) {
    for (size_t i = 0; i < parameters_[unit].size(); ++i) {
      at::Tensor& parameter = parameters_[unit][i];
      const at::Tensor kept = parameter.clone();
      const at::Tensor direction = at::empty_like(parameter).normal_(0, 1, generator);
      direction.div_(direction.norm());
      parameter.copy_(kept.add(direction, kStep));
      const double above = Run(batch).losses_B.sum().item<double>();
      parameter.copy_(kept.sub(direction, kStep));
      const double below = Run(batch).losses_B.sum().item<double>();
      parameter.copy_(kept);
      const double slope = at_point.gradients[unit][i].mul(direction).sum().item<double>();
      EXPECT_NEAR((above - below) / (2 * kStep), slope, 2e-3)
          << description_.units[unit].parameters[i].name;
    }
  }
}

}  // namespace
}  // namespace sotto::models
