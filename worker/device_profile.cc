#include "worker/device_profile.h"

#include <malloc.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "ATen/Parallel.h"
#include "ATen/ops/full.h"
#include "ATen/ops/mul.h"
#include "ATen/ops/zeros.h"
#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "kernels/adamw.h"
#include "kernels/chacha_normals.h"
#include "kernels/fold.h"
#include "kernels/stream_with_norm.h"
#include "worker/memory/tensor_memory.h"
#include "worker/nn/gemm.h"
#include "worker/nn/outer_product_norm.h"

namespace sotto {
namespace {

// A feed-forward layer of width 256; its gradient is a tile of the kernels that hold gradients.
constexpr int64_t kInputs = 256;
constexpr int64_t kOutputs = 1024;
constexpr int64_t kElements = kInputs * kOutputs;
constexpr int64_t kInnerSizes[] = {16, 64, 128, 256, 512};
constexpr int64_t kGramTokens = 128;
constexpr int64_t kLongInner = 2048;
// Beyond what one process gets of caches: 32 MiB.
constexpr int64_t kStreamedElements = int64_t{1} << 23;
constexpr int64_t kFoldedRows = 16;
constexpr int64_t kNormals = int64_t{1} << 18;
constexpr int64_t kGrain = int64_t{1} << 14;
constexpr int kRuns = 3;

// The least of a few runs after one that is not counted.
double BestSeconds(Clock& clock, absl::FunctionRef<void()> run) {
  run();
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i < kRuns; ++i) {
    const absl::Time begin = clock.Now();
    run();
    best = std::min(best, absl::ToDoubleSeconds(clock.Now() - begin));
  }
  return std::max(best, 1e-9);
}

absl::Span<float> SpanOf(const at::Tensor& values, int64_t begin, int64_t end) {
  return absl::MakeSpan(values.data_ptr<float>() + begin, static_cast<size_t>(end - begin));
}

void ForEachRange(int64_t size, absl::FunctionRef<void(int64_t, int64_t)> visit) {
  at::parallel_for(0, size, kGrain, [&](int64_t begin, int64_t end) { visit(begin, end); });
}

// One example's weight gradient per thread.
double ExampleProductSeconds(Clock& clock, int64_t inner, const at::Tensor& left,
                             const at::Tensor& right) {
  return BestSeconds(clock, [&] {
    at::parallel_for(0, at::get_num_threads(), 1, [&](int64_t begin, int64_t end) {
      std::vector<float> product(kElements);
      for (int64_t i = begin; i < end; ++i) {
        nn::Gemm('N', 'T', kOutputs, kInputs, inner, right.const_data_ptr<float>(), kOutputs,
                 left.const_data_ptr<float>(), kInputs, product.data(), kOutputs);
      }
    });
  });
}

void MeasureProducts(Clock& clock, layout::DeviceProfile& profile) {
  const at::Tensor left = at::full({kLongInner, kInputs}, 0.5f);
  const at::Tensor right = at::full({kLongInner, kOutputs}, 0.25f);
  const at::Tensor product = at::zeros({kInputs, kOutputs});
  const double long_seconds = BestSeconds(clock, [&] {
    nn::Gemm('N', 'T', kOutputs, kInputs, kLongInner, right.const_data_ptr<float>(), kOutputs,
             left.const_data_ptr<float>(), kInputs, product.data_ptr<float>(), kOutputs);
  });
  profile.product_flops = 2.0 * kLongInner * kElements / long_seconds;
  for (int64_t inner : kInnerSizes) {
    const double flops = 2.0 * static_cast<double>(inner * kElements * profile.threads);
    profile.example_products.push_back(
        {inner, flops / ExampleProductSeconds(clock, inner, left, right)});
  }
  const int64_t examples = profile.threads;
  const at::Tensor left_BTL = at::full({examples, kGramTokens, kInputs}, 0.5f);
  const at::Tensor right_BTR = at::full({examples, kGramTokens, kOutputs}, 0.25f);
  const at::Tensor norm_sq_B = at::zeros({examples}, at::kDouble);
  const double gram_seconds = BestSeconds(clock, [&] {
    nn::AddOuterProductNormSq(left_BTL, right_BTR, nn::NormForm::kTiled, norm_sq_B);
  });
  const int64_t triangle = kGramTokens * kGramTokens * (kInputs + kOutputs);
  profile.gram_flops = static_cast<double>(examples * triangle) / gram_seconds;
}

void MeasureMemory(Clock& clock, layout::DeviceProfile& profile) {
  const double bytes = sizeof(float) * static_cast<double>(kStreamedElements);
  const at::Tensor held = at::zeros({kStreamedElements});
  const at::Tensor tile = at::full({kElements}, 0.5f);
  const double hold_seconds = BestSeconds(clock, [&] {
    at::parallel_for(0, kStreamedElements / kElements, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        kernels::StreamWithNorm(SpanOf(tile, 0, kElements), held.data_ptr<float>() + i * kElements);
      }
      kernels::FinishStreaming();
    });
  });
  profile.hold_bytes = bytes / hold_seconds;

  const int64_t row = kStreamedElements / kFoldedRows;
  const std::vector<float> coefficients(kFoldedRows, 0.5f);
  const at::Tensor sum = at::zeros({row});
  const double fold_seconds = BestSeconds(clock, [&] {
    ForEachRange(row, [&](int64_t begin, int64_t end) {
      kernels::Fold(held.const_data_ptr<float>() + begin, row, coefficients,
                    SpanOf(sum, begin, end));
    });
  });
  profile.fold_bytes = bytes / fold_seconds;

  const at::Tensor factor = at::full({1}, 0.5f);
  const at::Tensor values = held.narrow(0, 0, kStreamedElements / 4);
  const double scale_seconds = BestSeconds(clock, [&] { values.mul(factor); });
  profile.scale_bytes = 2 * bytes / 4 / scale_seconds;
}

void MeasureStep(Clock& clock, layout::DeviceProfile& profile) {
  const at::Tensor values = at::zeros({4, kNormals});
  const auto row = [&](int64_t index, int64_t begin, int64_t end) {
    return SpanOf(values[index], begin, end);
  };
  const double noise_seconds = BestSeconds(clock, [&] {
    ForEachRange(kNormals, [&](int64_t begin, int64_t end) {
      kernels::AddNoise(kernels::ChaChaKey(), begin, /*stddev=*/1, row(0, begin, end));
    });
  });
  profile.normals = static_cast<double>(kNormals) / noise_seconds;

  const kernels::AdamWStep step = {
      .learning_rate = 1e-3, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8};
  const double update_seconds = BestSeconds(clock, [&] {
    ForEachRange(kNormals, [&](int64_t begin, int64_t end) {
      kernels::UpdateAdamW(step, row(0, begin, end), row(1, begin, end), row(2, begin, end),
                           row(3, begin, end));
    });
  });
  profile.updates = static_cast<double>(kNormals) / update_seconds;
}

}  // namespace

layout::DeviceProfile MeasureDeviceProfile(Clock& clock) {
  layout::DeviceProfile profile{.threads = at::get_num_threads()};
  MeasureProducts(clock, profile);
  MeasureMemory(clock, profile);
  MeasureStep(clock, profile);
  // The training that follows is held to a plan of its own tensors.
  malloc_trim(0);
  memory::ResetTensorPeak();
  memory::TakeTensorPeakSinceLastTake();
  return profile;
}

}  // namespace sotto
