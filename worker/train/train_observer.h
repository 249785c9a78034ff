// What a training loop tells the outside. Only noised metrics and public values pass.
#ifndef SOTTO_WORKER_TRAIN_TRAIN_OBSERVER_H_
#define SOTTO_WORKER_TRAIN_TRAIN_OBSERVER_H_

#include <cstdint>
#include <string>

#include "worker/dp/noised_metrics.h"

namespace sotto::train {

// Called on the trainer's thread; must not block for long.
class TrainObserver {
 public:
  virtual ~TrainObserver() = default;

  // Steps below `started_steps` were begun. `seconds_per_step` is smoothed; 0 when unknown.
  virtual void OnProgress(int64_t started_steps, double seconds_per_step) = 0;
  virtual void OnStep(const dp::NoisedMetrics& metrics, double learning_rate,
                      double seconds_per_step) = 0;
  // `step`: steps that the evaluated model has seen.
  virtual void OnEvaluation(int64_t step, double evaluation_loss) = 0;
  // `step`: first step not in the checkpoint.
  virtual void OnCheckpoint(int64_t step, const std::string& directory) = 0;
  // Freed memory went back to the system when `completed_steps` steps were in the model; few care.
  virtual void OnCachesCleared(int64_t completed_steps, int64_t released_bytes) {}
  // Public text.
  virtual void OnNote(const std::string& text) = 0;
};

}  // namespace sotto::train

#endif  // SOTTO_WORKER_TRAIN_TRAIN_OBSERVER_H_
