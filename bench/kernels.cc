// Own kernels against what LibTorch composes for the same work, in turns in one process.
#include <algorithm>
#include <cmath>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ATen/Parallel.h"
#include "ATen/ops/_log_softmax.h"
#include "ATen/ops/addmv.h"
#include "ATen/ops/bmm.h"
#include "ATen/ops/gather.h"
#include "ATen/ops/linalg_vector_norm.h"
#include "ATen/ops/normal.h"
#include "ATen/ops/ones.h"
#include "ATen/ops/rand.h"
#include "ATen/ops/randint.h"
#include "ATen/ops/scatter_add.h"
#include "ATen/ops/sqrt.h"
#include "ATen/ops/zeros.h"
#include "ATen/ops/zeros_like.h"
#include "CLI/CLI.hpp"
#include "absl/functional/function_ref.h"
#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "kernels/adamw.h"
#include "kernels/chacha_normals.h"
#include "kernels/fold.h"
#include "kernels/layer_norm_gradient.h"
#include "kernels/sum_of_squares.h"
#include "worker/dp/clipped_sum.h"
#include "worker/dp/clipped_sum_passkey.h"
#include "worker/dp/flat_clipping.h"
#include "worker/dp/mechanism.h"
#include "worker/grant/grant_gate.h"
#include "worker/nn/cross_entropy.h"
#include "worker/nn/outer_product.h"
#include "worker/nn/outer_product_norm.h"
#include "worker/optim/adamw.h"

namespace sotto::bench {
namespace {

constexpr int64_t kExamples = 16;
constexpr int64_t kGrain = int64_t{1} << 14;
constexpr int64_t kSquareBlock = kernels::kSquareBlock;

struct Shape {
  int64_t tokens, inputs, outputs;
};

double Seconds(absl::FunctionRef<void()> run) {
  const absl::Time begin = RealClock::Get().Now();
  run();
  return absl::ToDoubleSeconds(RealClock::Get().Now() - begin);
}

// Runs both sides of a comparison and prints what comes out.
class Comparer {
 public:
  // Of the comparisons whose names contain `only`.
  Comparer(std::string only, int rounds) : only_(std::move(only)), rounds_(rounds) {}

  // Medians over the rounds, after one that is not counted.
  void operator()(const std::string& what, absl::FunctionRef<void()> own,
                  absl::FunctionRef<void()> library, const char* ratio = "library/own") const {
    if (!absl::StrContains(what, only_)) return;
    own();
    library();
    std::vector<double> own_seconds, library_seconds, ratios;
    for (int i = 0; i < rounds_; ++i) {
      own_seconds.push_back(Seconds(own));
      library_seconds.push_back(Seconds(library));
      ratios.push_back(library_seconds.back() / own_seconds.back());
    }
    std::sort(own_seconds.begin(), own_seconds.end());
    std::sort(library_seconds.begin(), library_seconds.end());
    std::sort(ratios.begin(), ratios.end());
    std::cout << absl::StreamFormat(
                     "%-46s %9.3f ms  %s %.2f (quartiles %.2f to %.2f), of the fastest %.2f", what,
                     1e3 * own_seconds[rounds_ / 2], ratio, ratios[rounds_ / 2],
                     ratios[rounds_ / 4], ratios[3 * rounds_ / 4],
                     library_seconds.front() / own_seconds.front())
              << std::endl;
  }

 private:
  const std::string only_;
  const int rounds_;
};

void CompareHolding(const Shape& s, const Comparer& compare) {
  const at::Tensor left = at::rand({kExamples, s.tokens, s.inputs});
  const at::Tensor right = at::rand({kExamples, s.tokens, s.outputs});
  at::Tensor slab = at::zeros({kExamples, s.inputs * s.outputs});
  at::Tensor products = slab.view({kExamples, s.inputs, s.outputs});
  const at::Tensor norm_sq = at::zeros({kExamples}, at::kDouble);
  const std::string shape = absl::StrFormat("T=%d, %dx%d", s.tokens, s.inputs, s.outputs);
  compare(
      "hold gradients and norms, " + shape,
      [&] { nn::OuterProductsWithNormSq(left, right, slab, norm_sq); },
      [&] {
        at::bmm_out(products, left.transpose(1, 2), right);
        at::linalg_vector_norm(slab, 2, at::IntArrayRef{1});
      });
  compare(
      "norms without gradients, " + shape,
      [&] { nn::AddOuterProductNormSq(left, right, nn::NormForm::kTiled, norm_sq); },
      [&] {
        at::bmm(left, left.transpose(1, 2)).mul_(at::bmm(right, right.transpose(1, 2))).sum({1, 2});
      });
  at::Tensor sum = at::zeros({slab.size(1)});
  const at::Tensor factors = at::rand({kExamples});
  const absl::Span<const float> coefficients(factors.const_data_ptr<float>(), kExamples);
  compare(
      "fold held gradients, " + shape,
      [&] {
        at::parallel_for(0, sum.numel(), kGrain, [&](int64_t begin, int64_t end) {
          kernels::Fold(slab.const_data_ptr<float>() + begin, slab.stride(0), coefficients,
                        absl::MakeSpan(sum.data_ptr<float>() + begin, end - begin));
        });
      },
      [&] { at::addmv_out(sum, sum, slab.t(), factors); });
}

// Both in place of logits, which are as many as a micro-batch of 2048 tokens has; the first writes
// over its own result, which costs it as much as logits do.
void CompareCrossEntropy(const Comparer& compare) {
  constexpr int64_t kTokens = 128;
  constexpr int64_t kVocabulary = 8192;
  const at::Tensor logits = at::rand({kExamples, kTokens, kVocabulary});
  const at::Tensor tokens = at::randint(kVocabulary, {kExamples, kTokens}, at::kLong);
  const at::Tensor weights = at::ones({kExamples, kTokens}).div_(kTokens - 1);
  const at::Tensor losses = at::zeros({kExamples});
  const at::Tensor targets = tokens.narrow(1, 1, kTokens - 1).unsqueeze(2);
  const at::Tensor ones = at::ones({kExamples, kTokens - 1, 1}).neg_();
  compare(
      "cross-entropy with gradient, 2048 x 8192",
      [&] { nn::CrossEntropyWithGradient(logits, tokens, weights, losses); },
      [&] {
        at::Tensor log_p = at::_log_softmax(logits, 2, /*half_to_float=*/false);
        at::gather(log_p.narrow(1, 0, kTokens - 1), 2, targets).neg_().sum({1, 2});
        log_p.exp_().narrow(1, 0, kTokens - 1).scatter_add_(2, targets, ones);
        log_p.narrow(1, 0, kTokens - 1).mul_(1.0 / (kTokens - 1));
        log_p.select(1, kTokens - 1).zero_();
      });
}

// Gain and bias of each example.
void CompareLayerNorm(int64_t tokens, const Comparer& compare) {
  constexpr int64_t kWidth = 256;
  const at::Tensor input = at::rand({kExamples, tokens, kWidth});
  const at::Tensor grads = at::rand({kExamples, tokens, kWidth});
  const at::Tensor mean = at::rand({kExamples, tokens, 1});
  const at::Tensor reciprocal_std = at::rand({kExamples, tokens, 1});
  at::Tensor gain = at::zeros({kExamples, kWidth});
  at::Tensor bias = at::zeros({kExamples, kWidth});
  const auto row = [](const at::Tensor& tensor, int64_t example, int64_t size) {
    return absl::MakeSpan(tensor.data_ptr<float>() + example * size, static_cast<size_t>(size));
  };
  compare(
      absl::StrFormat("LayerNorm's gradients of examples, T=%d, 256", tokens),
      [&] {
        at::parallel_for(0, kExamples, 1, [&](int64_t begin, int64_t end) {
          for (int64_t b = begin; b < end; ++b) {
            kernels::LayerNormGradient(row(input, b, tokens * kWidth).data(),
                                       row(grads, b, tokens * kWidth).data(), row(mean, b, tokens),
                                       row(reciprocal_std, b, tokens), row(gain, b, kWidth),
                                       row(bias, b, kWidth));
          }
        });
      },
      [&] {
        gain = input.sub(mean).mul_(reciprocal_std).mul_(grads).sum({1});
        bias = grads.sum({1});
      });
}

// Of rows that are in cache, as after they were computed, and of a slab in memory. The library's
// composition keeps the same rule: float32 within 4096 elements, float64 beyond.
void CompareSquares(int64_t rows, int64_t width, const Comparer& compare) {
  const at::Tensor values = at::rand({rows, width});
  std::vector<double> sums(static_cast<size_t>(rows));
  compare(
      absl::StrFormat("squared norms of %d rows of %d", rows, width),
      [&] {
        at::parallel_for(0, rows, 1, [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i) {
            sums[i] = kernels::SumOfSquares(absl::MakeConstSpan(
                values.const_data_ptr<float>() + i * width, static_cast<size_t>(width)));
          }
        });
      },
      [&] {
        at::linalg_vector_norm(values.view({rows, -1, std::min(width, kSquareBlock)}), 2,
                               at::IntArrayRef{2})
            .to(at::kDouble)
            .square_()
            .sum({1});
      });
}

// The library's normals are not keyed, and fp32.
void CompareNoise(const Comparer& compare) {
  constexpr int64_t kElements = int64_t{1} << 22;
  at::Tensor values = at::zeros({kElements});
  const at::Tensor noise = at::zeros({kElements});
  compare(
      "noise on 4M elements",
      [&] {
        at::parallel_for(0, kElements, kGrain, [&](int64_t begin, int64_t end) {
          kernels::AddNoise(kernels::ChaChaKey(), begin, /*stddev=*/1,
                            absl::MakeSpan(values.data_ptr<float>() + begin, end - begin));
        });
      },
      [&] { values.add_(noise.normal_()); });
}

constexpr kernels::AdamWStep kAdamWStep = {.learning_rate = 1e-3,
                                           .beta1 = 0.9,
                                           .beta2 = 0.999,
                                           .epsilon = 1e-8,
                                           .bias_correction1 = 0.1,
                                           .bias_correction2 = 0.001};

// A shard with its gradient and moments.
struct Shard {
  explicit Shard(int64_t elements)
      : gradient(at::rand({elements})),
        weights(at::rand({elements})),
        m(at::zeros({elements})),
        v(at::zeros({elements})) {}

  static absl::Span<float> Range(const at::Tensor& tensor, int64_t begin, int64_t end) {
    return absl::MakeSpan(tensor.data_ptr<float>() + begin, end - begin);
  }
  void AddNoise(int64_t begin, int64_t end) const {
    kernels::AddNoise(kernels::ChaChaKey(), begin, /*stddev=*/1, Range(gradient, begin, end));
  }
  void Update(int64_t begin, int64_t end) const {
    kernels::UpdateAdamW(kAdamWStep, Range(gradient, begin, end), Range(weights, begin, end),
                         Range(m, begin, end), Range(v, begin, end));
  }
  double NormSq(int64_t begin, int64_t end) const {
    return kernels::SumOfSquares64(Range(gradient, begin, end));
  }

  at::Tensor gradient, weights, m, v;
};

// AdamW of the library's operations.
struct Moments {
  explicit Moments(const at::Tensor& weights)
      : m(at::zeros_like(weights)), v(at::zeros_like(weights)) {}

  void Update(const at::Tensor& gradient, const at::Tensor& weights) const {
    m.mul_(kAdamWStep.beta1).add_(gradient, 1 - kAdamWStep.beta1);
    v.mul_(kAdamWStep.beta2).addcmul_(gradient, gradient, 1 - kAdamWStep.beta2);
    const at::Tensor root =
        at::sqrt(v).div_(std::sqrt(kAdamWStep.bias_correction2)).add_(kAdamWStep.epsilon);
    weights.addcdiv_(m, root, -kAdamWStep.learning_rate / kAdamWStep.bias_correction1);
  }

  at::Tensor m, v;
};

void CompareAdamW(const Comparer& compare) {
  const Shard shard(int64_t{1} << 22);
  const at::Tensor weights = shard.weights.clone();
  const Moments moments(weights);
  compare(
      "AdamW on 4M elements",
      [&] {
        at::parallel_for(0, weights.numel(), kGrain,
                         [&](int64_t begin, int64_t end) { shard.Update(begin, end); });
      },
      [&] { moments.Update(shard.gradient, weights); });
}

// What a step does with a sum, on a shard of one unit: release, update, report.
class Update {
 public:
  explicit Update(int64_t elements)
      : sums_(at::rand({elements})),
        weights_(at::rand({elements})),
        gate_({.attempt = 1, .end_step = kEndStep, .clock = &RealClock::Get()}),
        mechanism_(*dp::Mechanism::Create({
            .secret = crypto::Secret::FromPublicSeed(1),
            .noise = {{.gradient_multiplier = 1}},
            .max_loss = 1,
            .expected_batch_size = 1,
            .parameters = elements,
            .sum_over_ranks = [](absl::Span<double>) { return absl::OkStatus(); },
        })),
        rule_(*dp::FlatClipping::Create(/*clip_norm=*/1, /*margin=*/0)),
        adamw_({.weight_decay = 0.1}, {{weights_, {{0, elements}}}}) {
    SOTTO_CHECK_OK(gate_.Extend({.first_step = 0, .end_step = kEndStep, .attempt = 1}));
  }

  void Step() {
    dp::ClippedSum sum(dp::ClippedSumPasskey::Vouch(),
                       {{.values = sums_, .used = {{0, sums_.numel()}}}}, dp::PrivateStatistics(),
                       rule_->sensitivity());
    const dp::NoisedGradient noised = *mechanism_->Release(std::move(sum), *gate_.Authorize(step_));
    SOTTO_CHECK_OK(adamw_.Step(noised, /*learning_rate=*/1e-3, step_));
    SOTTO_CHECK_OK(mechanism_->Report(noised).status());
    ++step_;
  }

 private:
  static constexpr int64_t kEndStep = int64_t{1} << 30;

  at::Tensor sums_, weights_;
  grant::GrantGate gate_;
  const std::unique_ptr<dp::Mechanism> mechanism_;
  const std::shared_ptr<const dp::ClippingRule> rule_;
  optim::AdamW adamw_;
  int64_t step_ = 0;
};

// The pass of a step, in which each piece gets its noise, is squared and updates weights while it
// is in cache, against the same kernels in three passes over the shard, and against what the
// library composes for it.
void CompareUpdates(int64_t elements, const Comparer& compare) {
  const std::string what = absl::StrFormat("noise, norm, AdamW in pieces, %dM", elements >> 20);
  Update update(elements);
  const Shard shard(elements);
  const auto over_shard = [elements](auto body) {
    at::parallel_for(0, elements, kGrain, [&](int64_t begin, int64_t end) { body(begin, end); });
  };
  std::vector<double> norms(static_cast<size_t>(elements / kGrain));
  compare(
      what, [&] { update.Step(); },
      [&] {
        over_shard([&](int64_t begin, int64_t end) { shard.AddNoise(begin, end); });
        at::parallel_for(0, elements / kGrain, 1, [&](int64_t first, int64_t last) {
          for (int64_t i = first; i < last; ++i) {
            norms[i] = shard.NormSq(i * kGrain, (i + 1) * kGrain);
          }
        });
        over_shard([&](int64_t begin, int64_t end) { shard.Update(begin, end); });
      },
      "three/one");
  const at::Tensor noise = at::zeros({elements});
  const Moments moments(shard.weights);
  compare(
      what, [&] { update.Step(); },
      [&] {
        shard.gradient.add_(noise.normal_());
        at::linalg_vector_norm(shard.gradient, 2, c10::nullopt, /*keepdim=*/false, at::kDouble);
        moments.Update(shard.gradient, shard.weights);
      });
}

}  // namespace
}  // namespace sotto::bench

int main(int argc, char** argv) {
  int threads = at::get_num_threads();
  int rounds = 9;
  std::string only;
  CLI::App app(
      "Own kernels against LibTorch's composition for the same work; the ratio is above 1 where "
      "ours is faster.\nExample: ./dev bench kernels --threads 1");
  app.add_option("--threads", threads)->check(CLI::PositiveNumber);
  app.add_option("--rounds", rounds)->check(CLI::PositiveNumber);
  app.add_option("--only", only, "comparisons whose names contain this");
  CLI11_PARSE(app, argc, argv);
  at::set_num_threads(threads);
  const sotto::bench::Comparer compare(only, rounds);
  for (int64_t tokens : {64, 128, 512}) {
    for (const sotto::bench::Shape& shape :
         {sotto::bench::Shape{tokens, 256, 768}, {tokens, 256, 1024}, {tokens, 8192, 256}}) {
      sotto::bench::CompareHolding(shape, compare);
    }
  }
  sotto::bench::CompareCrossEntropy(compare);
  for (int64_t tokens : {64, 512}) sotto::bench::CompareLayerNorm(tokens, compare);
  sotto::bench::CompareSquares(/*rows=*/1024, /*width=*/256, compare);
  sotto::bench::CompareSquares(/*rows=*/16, /*width=*/int64_t{1} << 18, compare);
  sotto::bench::CompareNoise(compare);
  sotto::bench::CompareAdamW(compare);
  for (int log2 : {22, 24}) sotto::bench::CompareUpdates(int64_t{1} << log2, compare);
  return 0;
}
