// Own kernels against what LibTorch composes for the same work, in turns in one process.
#include <algorithm>
#include <cmath>
#include <iostream>
#include <string>
#include <vector>

#include "ATen/Parallel.h"
#include "ATen/ops/addmv.h"
#include "ATen/ops/bmm.h"
#include "ATen/ops/linalg_vector_norm.h"
#include "ATen/ops/normal.h"
#include "ATen/ops/rand.h"
#include "ATen/ops/sqrt.h"
#include "ATen/ops/zeros.h"
#include "CLI/CLI.hpp"
#include "absl/functional/function_ref.h"
#include "absl/strings/str_format.h"
#include "common/base/clock.h"
#include "kernels/adamw.h"
#include "kernels/chacha_normals.h"
#include "kernels/fold.h"
#include "worker/nn/outer_product.h"
#include "worker/nn/outer_product_norm.h"

namespace sotto::bench {
namespace {

constexpr int64_t kExamples = 16;
constexpr int64_t kGrain = int64_t{1} << 14;

struct Shape {
  int64_t tokens, inputs, outputs;
};

double Seconds(absl::FunctionRef<void()> run) {
  const absl::Time begin = RealClock::Get().Now();
  run();
  return absl::ToDoubleSeconds(RealClock::Get().Now() - begin);
}

// Medians over the rounds, after one that is not counted.
void Compare(const std::string& what, int rounds, absl::FunctionRef<void()> own,
             absl::FunctionRef<void()> library) {
  own();
  library();
  std::vector<double> own_seconds, ratios;
  for (int i = 0; i < rounds; ++i) {
    own_seconds.push_back(Seconds(own));
    ratios.push_back(Seconds(library) / own_seconds.back());
  }
  std::sort(own_seconds.begin(), own_seconds.end());
  std::sort(ratios.begin(), ratios.end());
  std::cout << absl::StreamFormat("%-44s %9.3f ms  library/own %.2f (%.2f to %.2f)", what,
                                  1e3 * own_seconds[rounds / 2], ratios[rounds / 2], ratios.front(),
                                  ratios.back())
            << std::endl;
}

void CompareHolding(const Shape& s, int rounds) {
  const at::Tensor left = at::rand({kExamples, s.tokens, s.inputs});
  const at::Tensor right = at::rand({kExamples, s.tokens, s.outputs});
  at::Tensor slab = at::zeros({kExamples, s.inputs * s.outputs});
  at::Tensor products = slab.view({kExamples, s.inputs, s.outputs});
  const at::Tensor norm_sq = at::zeros({kExamples}, at::kDouble);
  const std::string shape = absl::StrFormat("T=%d, %dx%d", s.tokens, s.inputs, s.outputs);
  Compare(
      "hold gradients and norms, " + shape, rounds,
      [&] { nn::OuterProductsWithNormSq(left, right, slab, norm_sq); },
      [&] {
        at::bmm_out(products, left.transpose(1, 2), right);
        at::linalg_vector_norm(slab, 2, at::IntArrayRef{1});
      });
  Compare(
      "norms without gradients, " + shape, rounds,
      [&] { nn::AddOuterProductNormSq(left, right, nn::NormForm::kTiled, norm_sq); },
      [&] {
        at::bmm(left, left.transpose(1, 2)).mul_(at::bmm(right, right.transpose(1, 2))).sum({1, 2});
      });
  at::Tensor sum = at::zeros({slab.size(1)});
  const at::Tensor factors = at::rand({kExamples});
  const absl::Span<const float> coefficients(factors.const_data_ptr<float>(), kExamples);
  Compare(
      "fold held gradients, " + shape, rounds,
      [&] {
        at::parallel_for(0, sum.numel(), kGrain, [&](int64_t begin, int64_t end) {
          kernels::Fold(slab.const_data_ptr<float>() + begin, slab.stride(0), coefficients,
                        absl::MakeSpan(sum.data_ptr<float>() + begin, end - begin));
        });
      },
      [&] { at::addmv_out(sum, sum, slab.t(), factors); });
}

// The library's normals are not keyed, and fp32.
void CompareNoise(int rounds) {
  constexpr int64_t kElements = int64_t{1} << 22;
  at::Tensor values = at::zeros({kElements});
  const at::Tensor noise = at::zeros({kElements});
  Compare(
      "noise on 4M elements", rounds,
      [&] {
        at::parallel_for(0, kElements, kGrain, [&](int64_t begin, int64_t end) {
          kernels::AddNoise(kernels::ChaChaKey(), begin, /*stddev=*/1,
                            absl::MakeSpan(values.data_ptr<float>() + begin, end - begin));
        });
      },
      [&] { values.add_(noise.normal_()); });
}

void CompareAdamW(int rounds) {
  constexpr int64_t kElements = int64_t{1} << 22;
  constexpr kernels::AdamWStep kStep = {.learning_rate = 1e-3,
                                        .beta1 = 0.9,
                                        .beta2 = 0.999,
                                        .epsilon = 1e-8,
                                        .bias_correction1 = 0.1,
                                        .bias_correction2 = 0.001};
  const at::Tensor gradient = at::rand({kElements});
  at::Tensor weights = at::rand({kElements});
  at::Tensor m = at::zeros({kElements});
  at::Tensor v = at::zeros({kElements});
  const auto range = [](const at::Tensor& tensor, int64_t begin, int64_t end) {
    return absl::MakeSpan(tensor.data_ptr<float>() + begin, end - begin);
  };
  Compare(
      "AdamW on 4M elements", rounds,
      [&] {
        at::parallel_for(0, kElements, kGrain, [&](int64_t begin, int64_t end) {
          kernels::UpdateAdamW(kStep, range(gradient, begin, end), range(weights, begin, end),
                               range(m, begin, end), range(v, begin, end));
        });
      },
      [&] {
        m.mul_(kStep.beta1).add_(gradient, 1 - kStep.beta1);
        v.mul_(kStep.beta2).addcmul_(gradient, gradient, 1 - kStep.beta2);
        const at::Tensor root =
            at::sqrt(v).div_(std::sqrt(kStep.bias_correction2)).add_(kStep.epsilon);
        weights.addcdiv_(m, root, -kStep.learning_rate / kStep.bias_correction1);
      });
}

}  // namespace
}  // namespace sotto::bench

int main(int argc, char** argv) {
  int threads = at::get_num_threads();
  int rounds = 9;
  CLI::App app(
      "Own kernels against LibTorch's composition for the same work; the ratio is above 1 where "
      "ours is faster.\nExample: ./dev bench kernels --threads 1");
  app.add_option("--threads", threads)->check(CLI::PositiveNumber);
  app.add_option("--rounds", rounds)->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  at::set_num_threads(threads);
  for (int64_t tokens : {64, 128, 512}) {
    for (const sotto::bench::Shape& shape :
         {sotto::bench::Shape{tokens, 256, 768}, {tokens, 256, 1024}, {tokens, 8192, 256}}) {
      sotto::bench::CompareHolding(shape, rounds);
    }
  }
  sotto::bench::CompareNoise(rounds);
  sotto::bench::CompareAdamW(rounds);
  return 0;
}
