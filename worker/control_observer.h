// From the training loop to the coordinator: rank 0 reports, every rank tells its progress.
#ifndef SOTTO_WORKER_CONTROL_OBSERVER_H_
#define SOTTO_WORKER_CONTROL_OBSERVER_H_

#include <string>

#include "worker/control/control_client.h"
#include "worker/smoothed_mean.h"
#include "worker/train/train_observer.h"

namespace sotto {

// Trainer's thread only.
class ControlObserver : public train::TrainObserver {
 public:
  // `client` is borrowed.
  ControlObserver(control::ControlClient& client, int rank)
      : client_(client), reports_(rank == 0) {}

  void OnProgress(int64_t started_steps, double seconds_per_step) override;
  void OnStep(const dp::NoisedMetrics& metrics, double learning_rate,
              double seconds_per_step) override;
  void OnEvaluation(int64_t step, double evaluation_loss) override;
  void OnCheckpoint(int64_t step, const std::string& directory) override;
  // A line of this rank's log.
  void OnCachesCleared(int64_t completed_steps, int64_t released_bytes) override;
  void OnNote(const std::string& text) override;

 private:
  control::ControlClient& client_;
  const bool reports_;
  SmoothedMean smoothed_loss_;  // of this attempt
};

}  // namespace sotto

#endif  // SOTTO_WORKER_CONTROL_OBSERVER_H_
