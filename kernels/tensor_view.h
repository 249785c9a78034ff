// Borrowed rows and columns, as kernels see them: no ownership, no torch.
#ifndef SOTTO_KERNELS_TENSOR_VIEW_H_
#define SOTTO_KERNELS_TENSOR_VIEW_H_

#include <cstdint>

namespace sotto::kernels {

// `rows` x `columns` elements; neighbours in a row are adjacent, rows are `row_stride` elements
// apart.
template <typename T>
struct MatrixView {
  T* data = nullptr;
  int64_t rows = 0;
  int64_t columns = 0;
  int64_t row_stride = 0;

  T* row(int64_t index) const { return data + index * row_stride; }
};

}  // namespace sotto::kernels

#endif  // SOTTO_KERNELS_TENSOR_VIEW_H_
