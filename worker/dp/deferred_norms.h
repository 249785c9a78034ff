#ifndef SOTTO_WORKER_DP_DEFERRED_NORMS_H_
#define SOTTO_WORKER_DP_DEFERRED_NORMS_H_

#include <cstdint>
#include <vector>

#include "ATen/core/Tensor.h"
#include "worker/dp/held_gradients.h"
#include "worker/nn/layer.h"

namespace sotto::dp {

// Norms after the whole backward pass: the pass leaves references to inputs and output gradients
// here, and one operation measures them all, without weights. Layers of equal shape are measured
// together, every (layer, example) pair a piece of work for the threads.
class DeferredNorms {
 public:
  // `norm_sq_B` (float64, of the whole micro-batch) is added to by Measure. The layer is the
  // model's, which outlives the micro-batch.
  void Add(const nn::Layer& layer, const nn::SavedInput& saved, const at::Tensor& output_grads,
           nn::NormForm form, const at::Tensor& norm_sq_B);

  // The same for a layer whose gradients `held` (borrowed) holds: they are formed in Measure.
  void AddHeld(HeldGradients& held, int unit, const nn::Layer& layer, const nn::SavedInput& saved,
               const at::Tensor& output_grads, const at::Tensor& norm_sq_B);

  // Adds every norm and drops the references. Returns how many layers it measured.
  int64_t Measure();

  bool empty() const { return entries_.empty(); }
  void Clear() { entries_.clear(); }

 private:
  struct Entry {
    const nn::Layer* layer = nullptr;
    nn::SavedInput saved;
    at::Tensor output_grads;
    nn::NormForm form = nn::NormForm::kTiled;
    at::Tensor norm_sq_B;
    HeldGradients* held = nullptr;  // null: a norm alone
    int unit = 0;
  };

  // Entries of equal shape and form.
  static void MeasureTogether(const std::vector<const Entry*>& entries);

  std::vector<Entry> entries_;
};

}  // namespace sotto::dp

#endif  // SOTTO_WORKER_DP_DEFERRED_NORMS_H_
