#include "worker/nn/example_rows.h"

#include <algorithm>
#include <vector>

#include "kernels/fold.h"

namespace sotto::nn {

absl::Span<float> ExampleRow(const at::Tensor& rows_BE, int64_t b) {
  return absl::MakeSpan(rows_BE.data_ptr<float>() + b * rows_BE.stride(0),
                        static_cast<size_t>(rows_BE.size(1)));
}

void FoldRows(const at::Tensor& rows_BE, const at::Tensor& coefficients_B,
              const at::Tensor& gradient) {
  const int64_t examples = rows_BE.size(0);
  std::vector<float> factors(static_cast<size_t>(examples), 1.0f);
  if (coefficients_B.defined()) {
    std::copy_n(coefficients_B.const_data_ptr<float>(), examples, factors.begin());
  }
  kernels::Fold(rows_BE.const_data_ptr<float>(), rows_BE.stride(0), factors,
                absl::MakeSpan(gradient.data_ptr<float>(), static_cast<size_t>(rows_BE.size(1))));
}

}  // namespace sotto::nn
