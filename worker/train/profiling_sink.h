// Times what a backward pass does for its layers' gradients.
#ifndef SOTTO_WORKER_TRAIN_PROFILING_SINK_H_
#define SOTTO_WORKER_TRAIN_PROFILING_SINK_H_

#include <utility>

#include "ATen/core/Tensor.h"
#include "absl/types/span.h"
#include "worker/nn/gradient_sink.h"
#include "worker/train/phase_profile.h"

namespace sotto::train {

// Charges every visit to `phase`. Where a sink fuses the visit with the input gradient, the whole
// stays with the backward pass: the two have no border.
class ProfilingSink final : public nn::GradientSink {
 public:
  // Borrows both; without a profile it only passes calls on.
  ProfilingSink(nn::GradientSink& sink, PhaseProfile* profile, Phase phase)
      : sink_(sink), profile_(profile), phase_(phase) {}

  void Visit(const nn::Layer& layer, const nn::SavedInput& saved,
             const at::Tensor& output_grads) override {
    const PhaseProfile::Span span(profile_, phase_);
    sink_.Visit(layer, saved, output_grads);
  }

  at::Tensor Through(const nn::Layer& layer, absl::Span<const at::Tensor> parameters,
                     const nn::SavedInput& saved, const at::Tensor& output_grads) override {
    if (sink_.fuses(layer)) return sink_.Through(layer, parameters, saved, output_grads);
    return GradientSink::Through(layer, parameters, saved, output_grads);
  }

  void VisitRecomputable(const nn::Layer& layer, const nn::SavedInput& saved,
                         const at::Tensor& output_grads, Recompute again) override {
    const PhaseProfile::Span span(profile_, phase_);
    sink_.VisitRecomputable(layer, saved, output_grads, std::move(again));
  }

  at::Tensor ThroughRecomputable(const nn::Layer& layer, absl::Span<const at::Tensor> parameters,
                                 const nn::SavedInput& saved, const at::Tensor& output_grads,
                                 Recompute again) override {
    if (sink_.fuses(layer)) {
      return sink_.ThroughRecomputable(layer, parameters, saved, output_grads, std::move(again));
    }
    return GradientSink::ThroughRecomputable(layer, parameters, saved, output_grads,
                                             std::move(again));
  }

  bool fuses(const nn::Layer& layer) const override { return sink_.fuses(layer); }
  bool needs_another_pass() const override { return sink_.needs_another_pass(); }
  bool needs_cross_term(const nn::Layer& layer) const override {
    return sink_.needs_cross_term(layer);
  }

 private:
  nn::GradientSink& sink_;
  PhaseProfile* const profile_;
  const Phase phase_;
};

}  // namespace sotto::train

#endif  // SOTTO_WORKER_TRAIN_PROFILING_SINK_H_
