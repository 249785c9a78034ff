#include "worker/dp/held_gradients.h"

#include <algorithm>

#include "ATen/Parallel.h"
#include "ATen/ops/empty.h"
#include "common/base/huge_pages.h"
#include "kernels/fold.h"

namespace sotto::dp {
namespace {

// Rows of a slab start on a cache line.
constexpr int64_t kRowAlignment = 16;
// Elements a thread folds at a time.
constexpr int64_t kFoldGrain = 16384;

void FoldSlab(const at::Tensor& slab_BE, absl::Span<const float> coefficients,
              const at::Tensor& gradient) {
  const float* rows = slab_BE.const_data_ptr<float>();
  const int64_t stride = slab_BE.stride(0);
  float* out = gradient.data_ptr<float>();
  at::parallel_for(0, gradient.numel(), kFoldGrain, [&](int64_t begin, int64_t end) {
    kernels::Fold(rows + begin, stride, coefficients,
                  absl::MakeSpan(out + begin, static_cast<size_t>(end - begin)));
  });
}

}  // namespace

HeldGradients::HeldGradients(const layout::FlatLayout& layout, int64_t max_examples)
    : layout_(layout), max_examples_(max_examples), units_(layout.num_units()) {
  for (int unit = 0; unit < layout.num_units(); ++unit) {
    units_[unit].slabs_BE.resize(layout.unit(unit).parameters.size());
    units_[unit].slab_in_use.resize(layout.unit(unit).parameters.size());
  }
}

void HeldGradients::Hold(int unit, const nn::Layer& layer, const nn::SavedInput& saved,
                         const at::Tensor& output_grads, const at::Tensor& norm_sq_B) {
  Unit& held = units_[unit];
  const at::Tensor norms = norm_sq_B.narrow(0, saved.first_example, output_grads.size(0));
  std::vector<at::Tensor> slabs(held.slabs_BE.size());
  for (int parameter : layer.parameters()) {
    at::Tensor& slab = held.slabs_BE[parameter];
    const int64_t elements = layout_.unit(unit).parameters[parameter].elements;
    if (!slab.defined()) {
      const int64_t row = (elements + kRowAlignment - 1) / kRowAlignment * kRowAlignment;
      slab = at::empty({max_examples_, row}, output_grads.options().dtype(at::kFloat));
      PreferHugePages(slab.data_ptr(), static_cast<int64_t>(slab.nbytes()));
    }
    held.slab_in_use[parameter] = true;
    slabs[parameter] =
        slab.narrow(0, saved.first_example, output_grads.size(0)).narrow(1, 0, elements);
  }
  layer.ExampleGrads(saved, output_grads, slabs, norms);
}

void HeldGradients::Fold(int unit, const Coefficients& coefficients,
                         absl::Span<const at::Tensor> gradients) {
  Unit& held = units_[unit];
  const absl::Span<const float> factors =
      absl::MakeConstSpan(coefficients.values_B.const_data_ptr<float>(),
                          static_cast<size_t>(coefficients.values_B.numel()));
  for (size_t parameter = 0; parameter < held.slabs_BE.size(); ++parameter) {
    if (!held.slab_in_use[parameter]) continue;
    FoldSlab(held.slabs_BE[parameter], factors, gradients[parameter]);
    held.slab_in_use[parameter] = false;
  }
}

void HeldGradients::Clear() {
  for (Unit& unit : units_) {
    std::fill(unit.slab_in_use.begin(), unit.slab_in_use.end(), false);
  }
}

}  // namespace sotto::dp
