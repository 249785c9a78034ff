#include "worker/dp/book_keeping.h"

#include <utility>

#include "common/base/log.h"

namespace sotto::dp {
namespace {

// The norm has been taken: what only its cross term needed can go.
nn::SavedInput WithoutCrossTerm(nn::SavedInput saved) {
  saved.head_activations_BTD.reset();
  saved.head_grads.reset();
  return saved;
}

}  // namespace

void AddClippedGradients(const nn::Layer& layer, const nn::SavedInput& saved,
                         const at::Tensor& output_grads, const Coefficients& coefficients,
                         absl::Span<const at::Tensor> gradients) {
  const int64_t count = output_grads.size(0);
  const at::Tensor factors = coefficients.values_B.narrow(0, saved.first_example, count);
  if (coefficients.all_kept) {
    layer.WeightGrad(saved, output_grads, factors, gradients);
    return;
  }
  const at::Tensor keep = coefficients.keep_B.narrow(0, saved.first_example, count);
  layer.WeightGrad(nn::SelectExamples(saved, keep), nn::SelectExamples(output_grads, keep), factors,
                   gradients);
}

void BookKeeping::Keep(int unit, const nn::Layer& layer, const nn::SavedInput& saved,
                       const at::Tensor& output_grads) {
  units_[unit].push_back({.layer = &layer,
                          .saved = WithoutCrossTerm(saved),
                          .output_grads = output_grads,
                          .recompute = nullptr});
}

void BookKeeping::KeepInput(int unit, const nn::Layer& layer, const nn::SavedInput& saved,
                            nn::GradientSink::Recompute output_grads) {
  units_[unit].push_back({.layer = &layer,
                          .saved = WithoutCrossTerm(saved),
                          .output_grads = at::Tensor(),
                          .recompute = std::move(output_grads)});
}

void BookKeeping::AddTo(int unit, const Coefficients& coefficients,
                        absl::Span<const at::Tensor> gradients,
                        absl::Span<const at::Tensor> parameters) {
  for (Entry& entry : units_[unit]) {
    if (entry.recompute != nullptr) {
      SOTTO_CHECK(!parameters.empty());  // The schedule keeps such a unit gathered.
      entry.output_grads = entry.recompute(parameters);
    }
    AddClippedGradients(*entry.layer, entry.saved, entry.output_grads, coefficients, gradients);
    entry = {};
  }
  units_[unit].clear();
}

void BookKeeping::Clear() {
  for (std::vector<Entry>& unit : units_) unit.clear();
}

}  // namespace sotto::dp
