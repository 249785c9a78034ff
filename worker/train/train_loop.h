// The loop round the step: start from a checkpoint or from initial values, train, evaluate, save,
// end.
#ifndef SOTTO_WORKER_TRAIN_TRAIN_LOOP_H_
#define SOTTO_WORKER_TRAIN_TRAIN_LOOP_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "worker/checkpoint/checkpointer.h"
#include "worker/dp/clip_threshold.h"
#include "worker/fsdp/sharded_parameters.h"
#include "worker/optim/optimizer.h"
#include "worker/train/evaluator.h"
#include "worker/train/saver.h"
#include "worker/train/step.h"
#include "worker/train/train_observer.h"

namespace sotto::train {

// Trainer thread only. All ranks run the same loop.
class TrainLoop {
 public:
  struct Options {
    int64_t end_step = 0;                  // exclusive
    int64_t checkpoint_every_steps = 0;    // 0: only at the end
    bool evaluate_checkpoints = false;     // also whenever one is saved: best ones are kept
    int64_t evaluation_every_steps = 0;    // 0: only before the first and after the last step
    int64_t clear_caches_every_steps = 0;  // also after loading and evaluations; 0: never
    uint64_t init_seed = 0;
    std::string hugging_face_directory;  // initial weights; empty: of init_seed
  };

  // All borrowed; what is null is left out.
  struct Parts {
    Step& step;
    fsdp::ShardedParameters& parameters;
    optim::Optimizer& optimizer;
    const optim::LearningRateSchedule& learning_rate;
    dp::ClipThreshold& clip_threshold;
    TrainObserver& observer;
    Clock& clock;
    checkpoint::Checkpointer* checkpointer = nullptr;
    Evaluator* evaluator = nullptr;
  };

  struct Outcome {
    std::optional<StopCause> stopped;  // nothing: all steps are done
    int64_t completed_steps = 0;       // steps in the model
  };

  TrainLoop(const Options& options, const Parts& parts);

  // Errors end the attempt: those of the checkpointer (DATA_LOSS, FAILED_PRECONDITION from
  // Restore), the communicator and the step; OUT_OF_RANGE on all ranks when a step made a parameter
  // infinite or NaN. A stop is no error.
  absl::StatusOr<Outcome> Run();

  // For the exit record, also after an error: steps below this were begun (and count as released).
  int64_t started_steps() const;
  int64_t completed_steps() const { return completed_steps_; }

 private:
  absl::Status Initialize();
  absl::Status RestoreOrInitialize();
  absl::Status RunStep();
  absl::Status CheckFiniteAndAdvanceSave();
  absl::Status Save();
  absl::Status FinishSave();
  absl::Status Evaluate();
  void ClearCaches();
  absl::StatusOr<Outcome> StopEarly(StopCause cause);
  bool IsDue(int64_t every_steps) const {
    return every_steps > 0 && completed_steps_ % every_steps == 0;
  }
  std::vector<checkpoint::ShardState> State();
  std::vector<checkpoint::NumberState> Numbers();

  const Options options_;
  const Parts parts_;
  std::optional<Saver> saver_;  // none without a checkpointer
  int64_t first_step_ = 0;
  int64_t completed_steps_ = 0;
  int64_t saved_step_ = -1;
  double seconds_per_step_ = 0;
};

}  // namespace sotto::train

#endif  // SOTTO_WORKER_TRAIN_TRAIN_LOOP_H_
