#include "worker/dp/deferred_norms.h"

#include <map>
#include <utility>

#include "ATen/Parallel.h"
#include "ATen/ops/zeros.h"

namespace sotto::dp {
namespace {

std::vector<int64_t> ShapeKey(const nn::SavedInput& saved, const at::Tensor& output_grads,
                              nn::NormForm form) {
  std::vector<int64_t> key = {static_cast<int64_t>(form), saved.first_example};
  for (int64_t extent : output_grads.sizes()) key.push_back(extent);
  key.push_back(-1);
  if (saved.activations.defined()) {
    for (int64_t extent : saved.activations.sizes()) key.push_back(extent);
  }
  return key;
}

}  // namespace

void DeferredNorms::Add(const nn::Layer& layer, const nn::SavedInput& saved,
                        const at::Tensor& output_grads, nn::NormForm form,
                        const at::Tensor& norm_sq_B) {
  entries_.push_back({.layer = &layer,
                      .saved = saved,
                      .output_grads = output_grads,
                      .form = form,
                      .norm_sq_B = norm_sq_B});
}

void DeferredNorms::AddHeld(HeldGradients& held, int unit, const nn::Layer& layer,
                            const nn::SavedInput& saved, const at::Tensor& output_grads,
                            const at::Tensor& norm_sq_B) {
  entries_.push_back({.layer = &layer,
                      .saved = saved,
                      .output_grads = output_grads,
                      .norm_sq_B = norm_sq_B,
                      .held = &held,
                      .unit = unit});
}

int64_t DeferredNorms::Measure() {
  std::map<std::vector<int64_t>, std::vector<const Entry*>> by_shape;
  for (Entry& entry : entries_) {
    if (entry.held == nullptr) {
      by_shape[ShapeKey(entry.saved, entry.output_grads, entry.form)].push_back(&entry);
      continue;
    }
    // In the order of the backward pass: a tied embedding adds to the slab that its head wrote.
    entry.held->Hold(entry.unit, *entry.layer, entry.saved, entry.output_grads, entry.norm_sq_B);
    entry.saved = {};
    entry.output_grads.reset();
  }
  for (const auto& [shape, entries] : by_shape) MeasureTogether(entries);
  const auto layers = static_cast<int64_t>(entries_.size());
  entries_.clear();
  return layers;
}

void DeferredNorms::MeasureTogether(const std::vector<const Entry*>& entries) {
  const int64_t layers = static_cast<int64_t>(entries.size());
  const int64_t examples = entries.front()->output_grads.size(0);
  // Each pair has its own cell: layers share an example's norm.
  const at::Tensor norm_sq_LB = at::zeros({layers, examples}, at::kDouble);
  at::parallel_for(0, layers * examples, 1, [&](int64_t begin, int64_t end) {
    for (int64_t pair = begin; pair < end; ++pair) {
      const Entry& entry = *entries[pair / examples];
      const int64_t b = pair % examples;
      entry.layer->AddExampleNormSq(nn::SliceExamples(entry.saved, b, 1),
                                    entry.output_grads.narrow(0, b, 1), entry.form,
                                    norm_sq_LB[pair / examples].narrow(0, b, 1));
    }
  });
  for (int64_t layer = 0; layer < layers; ++layer) {
    const Entry& entry = *entries[layer];
    entry.norm_sq_B.narrow(0, entry.saved.first_example, examples).add_(norm_sq_LB[layer]);
  }
}

}  // namespace sotto::dp
