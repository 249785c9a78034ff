// The clip norm C of each step.
#ifndef SOTTO_WORKER_DP_CLIP_THRESHOLD_H_
#define SOTTO_WORKER_DP_CLIP_THRESHOLD_H_

#include <cstdint>

#include "worker/dp/noised_metrics.h"

namespace sotto::dp {

// Trainer thread only; equal on every rank. A threshold may follow the steps before it only through
// what they released: Observe takes nothing else.
class ClipThreshold {
 public:
  virtual ~ClipThreshold() = default;

  // C of step `step`, the next one to run. Finite and positive.
  virtual double At(int64_t step) const = 0;

  // After the step's release: C changes between steps only.
  virtual void Observe(const NoisedMetrics& /*metrics*/) {}

  // What a checkpoint keeps and gives back; null: nothing.
  virtual double* state() { return nullptr; }
};

}  // namespace sotto::dp

#endif  // SOTTO_WORKER_DP_CLIP_THRESHOLD_H_
