#include "worker/nn/outer_product.h"

#include <ostream>
#include <vector>

#include "ATen/CPUGeneratorImpl.h"
#include "ATen/Functions.h"
#include "gtest/gtest.h"
#include "worker/nn/outer_product_norm.h"

namespace sotto::nn {
namespace {

struct Shape {
  int64_t examples, tokens, left, right;
};

void PrintTo(const Shape& s, std::ostream* out) {
  *out << s.examples << " x " << s.tokens << " tokens, " << s.left << " by " << s.right;
}

at::Tensor Normal(at::IntArrayRef shape, int64_t seed) {
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  return at::empty(shape).normal_(0, 1, generator);
}

at::Tensor Products64(const at::Tensor& left, const at::Tensor& right) {
  return at::bmm(left.to(at::kDouble).transpose(1, 2), right.to(at::kDouble));
}

at::Tensor NormSq64(const at::Tensor& products) { return products.pow(2).sum({1, 2}); }

class OuterProductTest : public ::testing::TestWithParam<Shape> {
 protected:
  const at::Tensor left_ =
      Normal({GetParam().examples, GetParam().tokens, GetParam().left}, /*seed=*/1);
  const at::Tensor right_ =
      Normal({GetParam().examples, GetParam().tokens, GetParam().right}, /*seed=*/2);
};

// Gram form, in one tile and in several; the direct form, in one tile and in several; edges.
INSTANTIATE_TEST_SUITE_P(Shapes, OuterProductTest,
                         ::testing::Values(Shape{3, 7, 64, 96}, Shape{2, 300, 1024, 1024},
                                           Shape{3, 200, 17, 31}, Shape{2, 900, 500, 700},
                                           Shape{1, 1, 1, 1}, Shape{2, 1, 33, 5},
                                           Shape{5, 128, 300, 300}, Shape{2, 64, 200, 1500},
                                           Shape{0, 4, 3, 3}));

constexpr NormForm kForms[] = {NormForm::kGram, NormForm::kTiled, NormForm::kFromGradient};

TEST_P(OuterProductTest, NormsOfEveryFormEqualFloat64) {
  const at::Tensor expected = NormSq64(Products64(left_, right_));
  for (NormForm form : kForms) {
    const at::Tensor norm_sq = at::ones({GetParam().examples}, at::kDouble);
    AddOuterProductNormSq(left_, right_, form, norm_sq);
    for (int64_t b = 0; b < GetParam().examples; ++b) {
      EXPECT_NEAR(norm_sq[b].item<double>() - 1, expected[b].item<double>(),
                  1e-5 * expected[b].item<double>())
          << static_cast<int>(form);
    }
  }
}

TEST_P(OuterProductTest, InputGradsComeWithTheSameNorms) {
  const Shape& s = GetParam();
  const at::Tensor expected = NormSq64(Products64(left_, right_));
  const at::Tensor bias = right_.to(at::kDouble).sum(1).pow(2).sum(1);
  const at::Tensor weight = Normal({s.left, s.right}, /*seed=*/3);
  const at::Tensor grads64 = at::matmul(right_.to(at::kDouble), weight.to(at::kDouble).t());
  for (bool output_first : {false, true}) {
    const at::Tensor stored = output_first ? weight.t().contiguous() : weight;
    const at::Tensor norm_sq = at::ones({s.examples}, at::kDouble);
    const at::Tensor grads = InputGradsWithNormSq(left_, right_, stored, output_first,
                                                  /*with_bias=*/true, NormForm::kTiled, norm_sq);
    EXPECT_LE(grads.to(at::kDouble).sub(grads64).norm().item<double>(),
              1e-5 * grads64.norm().item<double>());
    for (int64_t b = 0; b < s.examples; ++b) {
      const double whole = expected[b].item<double>() + bias[b].item<double>();
      EXPECT_NEAR(norm_sq[b].item<double>() - 1, whole, 1e-5 * whole);
    }
  }
}

TEST_P(OuterProductTest, ProductsEqualFloat64AndAreVisitedOnce) {
  const Shape& s = GetParam();
  const at::Tensor slab = at::full({s.examples, s.left * s.right + 16}, 7.0f);
  std::vector<int> visits(static_cast<size_t>(s.examples), 0);
  OuterProducts(left_, right_, slab, [&](int64_t b, absl::Span<const float> values) {
    ++visits[b];
    EXPECT_EQ(values.size(), static_cast<size_t>(s.left * s.right));
  });
  const at::Tensor products =
      slab.narrow(1, 0, s.left * s.right).reshape({s.examples, s.left, s.right});
  const at::Tensor expected = Products64(left_, right_);
  EXPECT_LE(products.to(at::kDouble).sub(expected).norm().item<double>(),
            1e-5 * expected.norm().item<double>());
  for (int count : visits) EXPECT_EQ(count, 1);
}

TEST_P(OuterProductTest, ProductsComeWithTheirNorms) {
  const Shape& s = GetParam();
  const int64_t elements = s.left * s.right;
  const at::Tensor slab = at::full({s.examples, elements + 16}, 7.0f);
  const at::Tensor norm_sq = at::ones({s.examples}, at::kDouble);
  OuterProductsWithNormSq(left_, right_, slab, norm_sq);
  const at::Tensor expected = Products64(left_, right_);
  const at::Tensor products =
      slab.narrow(1, 0, elements).reshape({s.examples, s.left, s.right}).to(at::kDouble);
  EXPECT_LE(products.sub(expected).norm().item<double>(), 1e-5 * expected.norm().item<double>());
  EXPECT_TRUE(slab.narrow(1, elements, 16).eq(7.0f).all().item<bool>());
  const at::Tensor expected_sq = NormSq64(expected);
  for (int64_t b = 0; b < s.examples; ++b) {
    EXPECT_NEAR(norm_sq[b].item<double>() - 1, expected_sq[b].item<double>(),
                1e-5 * expected_sq[b].item<double>());
  }
}

TEST_P(OuterProductTest, ScaledSumsAreAddedToWhatIsThere) {
  const Shape& s = GetParam();
  const at::Tensor factors = at::arange(s.examples, at::kFloat);
  const at::Tensor sum = at::ones({s.left, s.right});
  AddScaledOuterProducts(left_, right_, factors, sum);
  const at::Tensor expected =
      Products64(left_, right_).mul(factors.to(at::kDouble).view({-1, 1, 1})).sum(0).add(1);
  EXPECT_LE(sum.to(at::kDouble).sub(expected).norm().item<double>(),
            1e-5 * expected.norm().item<double>());
}

TEST_P(OuterProductTest, ColumnSumsEqualFloat64) {
  const at::Tensor expected = right_.to(at::kDouble).sum(1);
  const at::Tensor sums = at::full({GetParam().examples, GetParam().right}, 3.0f);
  const at::Tensor norm_sq = at::zeros({GetParam().examples}, at::kDouble);
  AddColumnSumNormSq(right_, sums, norm_sq);
  EXPECT_LE(sums.to(at::kDouble).sub(expected).norm().item<double>(),
            1e-5 * expected.norm().item<double>());
  EXPECT_LE(norm_sq.sub(expected.pow(2).sum(1)).norm().item<double>(),
            1e-5 * expected.norm().item<double>() * expected.norm().item<double>());
}

// M = sum_t a_t g_t^T with pairs of equal a and nearly opposite g: |terms| of the Gram form sum to
// 1e10 times the norm, so that its float32 result would be noise.
TEST(OuterProductCancellationTest, TheNormOfACancellingSumIsStillRight) {
  const at::Tensor half_left = Normal({1, 32, 400}, 1);
  const at::Tensor half_right = Normal({1, 32, 600}, 2);
  const at::Tensor left = at::cat({half_left, half_left}, 1);
  const at::Tensor right = at::cat({half_right, half_right.mul(-1 + 1e-5)}, 1);
  const double expected = NormSq64(Products64(left, right)).item<double>();
  for (NormForm form : kForms) {
    const at::Tensor norm_sq = at::zeros({1}, at::kDouble);
    AddOuterProductNormSq(left, right, form, norm_sq);
    // The direct form's rounding: 2^-24 of products 1e5 times larger than what is left, 64 of them
    // at random.
    EXPECT_NEAR(norm_sq.item<double>(), expected, 0.05 * expected) << static_cast<int>(form);
  }
  EXPECT_GT(expected, 0);
}

// Squares of the short side are denormal or zero in float32; those of the products are not.
TEST(OuterProductUnderflowTest, ShortRowsBesideLongOnesStillCount) {
  for (int64_t tokens : {1, 40}) {
    for (double scale : {1e-21, 1e-23}) {
      at::Tensor left = Normal({1, tokens, 300}, 1).mul(scale);
      at::Tensor right = Normal({1, tokens, 400}, 2).mul(1e17);
      // A token that hides the others' lengths: ordinary on one side, without gradient.
      left[0][0].fill_(tokens == 1 ? scale : 1);
      if (tokens > 1) right[0][0].zero_();
      const double expected = NormSq64(Products64(left, right)).item<double>();
      for (NormForm form : kForms) {
        for (bool swapped : {false, true}) {
          const at::Tensor norm_sq = at::zeros({1}, at::kDouble);
          AddOuterProductNormSq(swapped ? right : left, swapped ? left : right, form, norm_sq);
          EXPECT_NEAR(norm_sq.item<double>(), expected, 1e-5 * expected)
              << tokens << " tokens, " << scale << ", form " << static_cast<int>(form);
        }
      }
    }
  }
}

TEST(OuterProductUnderflowTest, NothingIsStillNothing) {
  for (NormForm form : kForms) {
    const at::Tensor norm_sq = at::zeros({2}, at::kDouble);
    AddOuterProductNormSq(Normal({2, 40, 300}, 1), at::zeros({2, 40, 400}), form, norm_sq);
    EXPECT_EQ(norm_sq.abs().max().item<double>(), 0);
  }
}

}  // namespace
}  // namespace sotto::nn
