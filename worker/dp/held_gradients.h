#ifndef SOTTO_WORKER_DP_HELD_GRADIENTS_H_
#define SOTTO_WORKER_DP_HELD_GRADIENTS_H_

#include <cstdint>
#include <vector>

#include "ATen/core/Tensor.h"
#include "absl/types/span.h"
#include "common/layout/flat_layout.h"
#include "worker/dp/clipper.h"
#include "worker/nn/layer.h"

namespace sotto::dp {

// One gradient per example of the micro-batch, kept from the backward pass to the fold: a slab
// [max_examples, elements] for each parameter of a layer, allocated at first use and kept.
class HeldGradients {
 public:
  HeldGradients(const layout::FlatLayout& layout, int64_t max_examples);

  // Holds the gradients of a range of examples and adds their squared norms to `norm_sq_B` (of the
  // whole micro-batch). The layer's held_form() is kSlab.
  void Hold(int unit, const nn::Layer& layer, const nn::SavedInput& saved,
            const at::Tensor& output_grads, const at::Tensor& norm_sq_B);

  // Adds sum_b c_b grad_b of the unit's slabs to `gradients`. Examples that are not kept are never
  // read.
  void Fold(int unit, const Coefficients& coefficients, absl::Span<const at::Tensor> gradients);

  // Forgets what an aborted micro-batch left.
  void Clear();

 private:
  struct Unit {
    std::vector<at::Tensor> slabs_BE;  // by parameter; undefined until used
    std::vector<bool> slab_in_use;
  };

  const layout::FlatLayout& layout_;
  const int64_t max_examples_;
  std::vector<Unit> units_;
};

}  // namespace sotto::dp

#endif  // SOTTO_WORKER_DP_HELD_GRADIENTS_H_
