#ifndef SOTTO_WORKER_MODELS_PATCHES_H_
#define SOTTO_WORKER_MODELS_PATCHES_H_

#include <cstdint>

#include "ATen/core/Tensor.h"

namespace sotto::models {

// Square patches of images [B, C, H, W] as rows [B, patches, C * size * size], contiguous: row by
// row over the image, a patch's values in the order of its channels, rows and columns.
inline at::Tensor Patches(const at::Tensor& images, int64_t size) {
  const int64_t rows = images.size(2) / size;
  const int64_t columns = images.size(3) / size;
  return images.reshape({images.size(0), images.size(1), rows, size, columns, size})
      .permute({0, 2, 4, 1, 3, 5})
      .reshape({images.size(0), rows * columns, images.size(1) * size * size});
}

}  // namespace sotto::models

#endif  // SOTTO_WORKER_MODELS_PATCHES_H_
