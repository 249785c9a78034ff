#include "worker/optim/optimizer.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "ATen/Parallel.h"
#include "ATen/ops/from_blob.h"
#include "common/base/log.h"
#include "common/base/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "worker/dp/testing/noised_gradients.h"
#include "worker/optim/adamw.h"
#include "worker/optim/sgd.h"

namespace sotto::optim {
namespace {

constexpr int64_t kSize = 1000;
constexpr double kBatch = 8;

// Weights of one unit; [0, 400) is decayed, [990, 1000) padding.
class Weights {
 public:
  Weights() : values_(kSize) {
    for (int64_t i = 0; i < 990; ++i) values_[i] = std::cos(static_cast<float>(i));
  }
  ParameterShard Shard(int64_t begin = 0, int64_t end = kSize) {
    ParameterShard shard{at::from_blob(values_.data() + begin, {end - begin}, at::kFloat), {}};
    if (begin < 400) shard.decayed = {{0, std::min<int64_t>(400, end) - begin}};
    return shard;
  }
  std::vector<float>& values() { return values_; }

 private:
  std::vector<float> values_;
};

std::vector<float> SumsAt(int step) {
  std::vector<float> sums(kSize, 0.f);
  for (int64_t i = 0; i < 990; ++i)
    sums[i] = static_cast<float>(kBatch) * std::sin(i + 0.1f * step);
  return sums;
}

dp::NoisedGradient Gradient(std::vector<float>& sums, int64_t begin = 0, int64_t end = kSize) {
  return dp::MakeNoisedGradient(
      {{.values = at::from_blob(sums.data() + begin, {end - begin}, at::kFloat),
        .canonical_base = begin,
        .used = {{0, end - begin}}}},
      kBatch);
}

TEST(SgdTest, FollowsItsDefinition) {
  Weights weights;
  Sgd sgd({.momentum = 0.9, .weight_decay = 0.1}, {weights.Shard()});
  std::vector<double> expected(weights.values().begin(), weights.values().end());
  std::vector<double> buffer(kSize, 0);
  for (int step = 0; step < 5; ++step) {
    std::vector<float> sums = SumsAt(step);
    ASSERT_OK(sgd.Step(Gradient(sums), /*learning_rate=*/0.05, step));
    for (int64_t i = 0; i < kSize; ++i) {
      buffer[i] = 0.9 * buffer[i] + sums[i] / kBatch;
      expected[i] -= 0.05 * (buffer[i] + (i < 400 ? 0.1 * expected[i] : 0));
      ASSERT_NEAR(weights.values()[i], expected[i], 5 * 4 * 0x1p-24) << step << " " << i;
    }
  }
}

TEST(SgdTest, WithoutMomentumThereIsNoState) {
  Weights weights;
  EXPECT_TRUE(Sgd({}, {weights.Shard()}).State().empty());
}

TEST(AdamWTest, FollowsItsDefinition) {
  Weights weights;
  AdamW adamw({.weight_decay = 0.1}, {weights.Shard()});
  std::vector<double> w(weights.values().begin(), weights.values().end());
  std::vector<double> m(kSize, 0);
  std::vector<double> v(kSize, 0);
  for (int step = 0; step < 5; ++step) {
    std::vector<float> sums = SumsAt(step);
    ASSERT_OK(adamw.Step(Gradient(sums), /*learning_rate=*/0.01, step));
    for (int64_t i = 0; i < kSize; ++i) {
      const double g = sums[i] / kBatch;
      m[i] = 0.9 * m[i] + 0.1 * g;
      v[i] = 0.999 * v[i] + 0.001 * g * g;
      const double m_hat = m[i] / (1 - std::pow(0.9, step + 1));
      const double v_hat = v[i] / (1 - std::pow(0.999, step + 1));
      w[i] -= 0.01 * (m_hat / (std::sqrt(v_hat) + 1e-8) + (i < 400 ? 0.1 * w[i] : 0));
      ASSERT_NEAR(weights.values()[i], w[i], 5 * 4 * 0x1p-24) << step << " " << i;
    }
  }
}

constexpr double kNoiseStddev = 4;

dp::NoisedGradient NoisyGradient(std::vector<float>& sums, double noise_stddev = kNoiseStddev) {
  return dp::MakeNoisedGradient({{.values = at::from_blob(sums.data(), {kSize}, at::kFloat),
                                  .canonical_base = 0,
                                  .used = {{0, 990}}}},
                                kBatch, noise_stddev);
}

// Noise that differs from step to step, as with a schedule or a clip norm that adapts.
TEST(AdamWTest, FollowsTheDefinitionOfItsNoiseCorrection) {
  constexpr double kFloor = 0.05;
  Weights weights;
  AdamW adamw({.weight_decay = 0.1, .noise_correction_floor = kFloor}, {weights.Shard()});
  std::vector<double> w(weights.values().begin(), weights.values().end());
  std::vector<double> m(kSize, 0);
  std::vector<double> v(kSize, 0);
  double n = 0;
  int64_t at_floor = 0;
  for (int step = 0; step < 5; ++step) {
    const double noise_stddev = kNoiseStddev * (1 + step);
    std::vector<float> sums = SumsAt(step);
    ASSERT_OK(adamw.Step(NoisyGradient(sums, noise_stddev), /*learning_rate=*/0.01, step));
    n = 0.999 * n + 0.001 * std::pow(noise_stddev / kBatch, 2);
    for (int64_t i = 0; i < kSize; ++i) {
      const double g = sums[i] / kBatch;  // as noised
      m[i] = 0.9 * m[i] + 0.1 * g;
      v[i] = 0.999 * v[i] + 0.001 * g * g;
      const double c2 = 1 - std::pow(0.999, step + 1);
      const double v_hat = std::max((v[i] - n) / c2, kFloor);
      at_floor += v_hat == kFloor;
      const double m_hat = m[i] / (1 - std::pow(0.9, step + 1));
      w[i] -= 0.01 * (m_hat / (std::sqrt(v_hat) + 1e-8) + (i < 400 ? 0.1 * w[i] : 0));
      // v_hat is known to 6 * 2^-22, so its root, at least at the floor, to 2e-5 of itself; a move
      // is at most 0.01 * 3 / sqrt(kFloor) = 0.14.
      ASSERT_NEAR(weights.values()[i], w[i], 5 * 2e-5 * 0.14) << step << " " << i;
    }
  }
  EXPECT_GT(at_floor, 500);
  EXPECT_LT(at_floor, 4500);
}

// Gradient 1/4, noise of standard deviation 1/2 a mean: with the correction the second moment is
// the gradient's own. 990 squares of normals around 1/4: their mean is within 6 standard
// deviations.
TEST(AdamWTest, TheCorrectedSecondMomentIsTheGradientsOwn) {
  Weights weights;
  AdamW adamw({.noise_correction_floor = 1e-9}, {weights.Shard()});
  std::vector<float> sums(kSize, 0.f);
  std::fill(sums.begin(), sums.begin() + 990, static_cast<float>(kBatch / 4));
  ASSERT_OK(adamw.Step(NoisyGradient(sums), /*learning_rate=*/0.01, /*step=*/0));
  const float* v = adamw.State()[1].values.data_ptr<float>();
  const double mean = std::accumulate(v, v + 990, 0.0) / 990 / 0.001;
  const double noise = *adamw.Numbers()[0].value / 0.001;
  const double deviation = std::sqrt((2 * std::pow(0.25, 2) + 4 * 0.25 * 0.0625) / 990);
  EXPECT_NEAR(mean - noise, 0.0625, 6 * deviation);
  EXPECT_GT(mean, 0.0625 + 6 * deviation);  // without the correction it is not
}

TEST(AdamWTest, TheNoiseCorrectionGoesOnFromItsNumber) {
  const AdamW::Options options{.noise_correction_floor = 1e-3};
  Weights weights;
  AdamW one(options, {weights.Shard()});
  std::vector<float> first = SumsAt(0);
  ASSERT_OK(one.Step(NoisyGradient(first), 0.01, 0));
  Weights copy;
  copy.values() = weights.values();
  AdamW resumed(options, {copy.Shard()});
  for (int i : {0, 1}) resumed.State()[i].values.copy_(one.State()[i].values);
  *resumed.Numbers()[0].value = *one.Numbers()[0].value;
  for (AdamW* adamw : {&one, &resumed}) {
    std::vector<float> second = SumsAt(1);
    ASSERT_OK(adamw->Step(NoisyGradient(second), 0.01, 1));
  }
  EXPECT_EQ(weights.values(), copy.values());
  EXPECT_EQ(*resumed.Numbers()[0].value, *one.Numbers()[0].value);
  EXPECT_TRUE(AdamW({}, {weights.Shard()}).Numbers().empty());
}

template <typename T>
std::vector<float> Train(typename T::Options options, std::vector<int64_t> cuts) {
  Weights weights;
  cuts.push_back(kSize);
  int64_t begin = 0;
  for (int64_t end : cuts) {
    T optimizer(options, {weights.Shard(begin, end)});
    for (int step = 0; step < 3; ++step) {
      std::vector<float> sums = SumsAt(step);
      SOTTO_CHECK_OK(optimizer.Step(Gradient(sums, begin, end), 0.01, step));
    }
    begin = end;
  }
  return weights.values();
}

TEST(OptimizerTest, ShardingDoesNotChangeABit) {
  for (const std::vector<int64_t>& cuts :
       std::vector<std::vector<int64_t>>{{32}, {480, 960}, {1, 2, 399}}) {
    EXPECT_EQ(Train<AdamW>({.weight_decay = 0.1}, cuts), Train<AdamW>({.weight_decay = 0.1}, {}));
    EXPECT_EQ(Train<Sgd>({.momentum = 0.9}, cuts), Train<Sgd>({.momentum = 0.9}, {}));
  }
}

// Three steps on a shard of several pieces, where decay begins and ends inside them. The update is
// the noise's pass, or a pass of its own behind it.
template <typename T>
std::vector<float> TrainLongShard(typename T::Options options, bool in_one_pass) {
  constexpr int64_t kLong = 50'000;
  std::vector<float> weights(kLong);
  for (int64_t i = 0; i < kLong; ++i) weights[i] = std::cos(static_cast<float>(i));
  T optimizer(options, {{at::from_blob(weights.data(), {kLong}, at::kFloat),
                         {{100, 20'000}, {30'016, 40'000}}}});
  for (int step = 0; step < 3; ++step) {
    std::vector<float> sums(kLong);
    for (int64_t i = 0; i < kLong; ++i) sums[i] = std::sin(i + 0.1f * step);
    const dp::NoisedGradient gradient =
        dp::MakeNoisedGradient({{.values = at::from_blob(sums.data(), {kLong}, at::kFloat),
                                 .canonical_base = 32,
                                 .used = {{0, 33'000}, {33'024, kLong - 8}}}},
                               kBatch, kNoiseStddev);
    if (!in_one_pass) gradient.sums();
    SOTTO_CHECK_OK(optimizer.Step(gradient, 0.01, step));
  }
  return weights;
}

TEST(OptimizerTest, UpdatingInTheNoisesPassChangesNoBit) {
  const int threads_before = at::get_num_threads();
  const AdamW::Options adamw{.weight_decay = 0.1, .noise_correction_floor = 1e-3};
  const Sgd::Options sgd{.momentum = 0.9, .weight_decay = 0.1};
  at::set_num_threads(1);
  const std::vector<float> with_adamw = TrainLongShard<AdamW>(adamw, /*in_one_pass=*/false);
  const std::vector<float> with_sgd = TrainLongShard<Sgd>(sgd, /*in_one_pass=*/false);
  EXPECT_NE(with_adamw[0], 1);
  for (const int threads : {1, 2, 3}) {
    at::set_num_threads(threads);
    EXPECT_TRUE(TrainLongShard<AdamW>(adamw, /*in_one_pass=*/true) == with_adamw) << threads;
    EXPECT_TRUE(TrainLongShard<Sgd>(sgd, /*in_one_pass=*/true) == with_sgd) << threads;
  }
  at::set_num_threads(threads_before);
}

TEST(OptimizerTest, PaddingStaysZero) {
  const std::vector<float> weights = Train<AdamW>({.weight_decay = 0.1}, {});
  EXPECT_THAT(std::vector<float>(weights.begin() + 990, weights.end()), ::testing::Each(0));
}

TEST(OptimizerTest, StateSharesItsStorage) {
  Weights weights;
  AdamW adamw({}, {weights.Shard()});
  std::vector<StateTensor> state = adamw.State();
  ASSERT_EQ(state.size(), 2);
  EXPECT_EQ(state[0].name, "m");
  EXPECT_EQ(state[1].name, "v");
  std::vector<float> sums = SumsAt(0);
  ASSERT_OK(adamw.Step(Gradient(sums), 0.01, 0));
  EXPECT_NEAR(state[0].values.data_ptr<float>()[1], 0.1 * std::sin(1.0), 1e-6);
}

TEST(OptimizerTest, ReleasesOfAnotherShapeAreRefused) {
  Weights weights;
  AdamW adamw({}, {weights.Shard()});
  std::vector<float> sums = SumsAt(0);
  EXPECT_THAT(adamw.Step(Gradient(sums, 0, 999), 0.01, 0),
              StatusIs(absl::StatusCode::kInvalidArgument, ::testing::HasSubstr("999")));
}

}  // namespace
}  // namespace sotto::optim
