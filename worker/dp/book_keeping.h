#ifndef SOTTO_WORKER_DP_BOOK_KEEPING_H_
#define SOTTO_WORKER_DP_BOOK_KEEPING_H_

#include <vector>

#include "ATen/core/Tensor.h"
#include "absl/types/span.h"
#include "worker/dp/clipper.h"
#include "worker/nn/gradient_sink.h"
#include "worker/nn/layer.h"

namespace sotto::dp {

// Inputs and output gradients of layers, kept from the one backward pass until the coefficients are
// known: then each layer's clipped sum is one product, without another backward pass. A head keeps
// its input alone and forms its output gradients again, range by range.
class BookKeeping {
 public:
  explicit BookKeeping(int num_units) : units_(num_units) {}

  // References: nothing is copied. The layer is the model's, which outlives the micro-batch.
  void Keep(int unit, const nn::Layer& layer, const nn::SavedInput& saved,
            const at::Tensor& output_grads);
  void KeepInput(int unit, const nn::Layer& layer, const nn::SavedInput& saved,
                 nn::GradientSink::Recompute output_grads);

  // Adds sum_b c_b grad_b of the unit to `gradients`, layer by layer, and drops each layer's
  // tensors. `parameters` are the unit's gathered ones; only a unit with a KeepInput needs them.
  // Examples that are not kept are selected to zero.
  void AddTo(int unit, const Coefficients& coefficients, absl::Span<const at::Tensor> gradients,
             absl::Span<const at::Tensor> parameters);

  // Drops what an aborted micro-batch left.
  void Clear();

 private:
  struct Entry {
    const nn::Layer* layer;
    nn::SavedInput saved;
    at::Tensor output_grads;  // undefined: `recompute` makes them
    nn::GradientSink::Recompute recompute;
  };

  std::vector<std::vector<Entry>> units_;
};

// verb 4 with the range's coefficients; examples that are not kept are selected to zero first.
void AddClippedGradients(const nn::Layer& layer, const nn::SavedInput& saved,
                         const at::Tensor& output_grads, const Coefficients& coefficients,
                         absl::Span<const at::Tensor> gradients);

}  // namespace sotto::dp

#endif  // SOTTO_WORKER_DP_BOOK_KEEPING_H_
