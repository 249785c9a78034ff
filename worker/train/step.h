// One step of DP-SGD.
#ifndef SOTTO_WORKER_TRAIN_STEP_H_
#define SOTTO_WORKER_TRAIN_STEP_H_

#include <cstdint>
#include <optional>

#include "absl/status/statusor.h"
#include "worker/checkpoint/checkpointer.h"
#include "worker/comm/communicator.h"
#include "worker/dp/clip_threshold.h"
#include "worker/dp/mechanism.h"
#include "worker/dp/noised_metrics.h"
#include "worker/dp/sampler.h"
#include "worker/grant/grant_gate.h"
#include "worker/optim/learning_rate_schedule.h"
#include "worker/optim/optimizer.h"
#include "worker/train/agreement.h"
#include "worker/train/gradient_summer.h"
#include "worker/train/phase_profile.h"

namespace sotto::train {

// Trainer thread only; collective.
class Step {
 public:
  // All borrowed; the last two may be null.
  struct Parts {
    grant::GrantGate& gate;
    comm::Communicator& communicator;
    const dp::Sampler& sampler;
    GradientSummer& summer;
    dp::Mechanism& mechanism;
    dp::ClipThreshold& clip_threshold;
    optim::Optimizer& optimizer;
    const optim::LearningRateSchedule& learning_rate;
    PhaseProfile* profile = nullptr;
    checkpoint::Checkpointer* checkpointer = nullptr;  // reads the shards that the step changes
  };

  explicit Step(const Parts& parts) : parts_(parts) {}

  // Runs step `step` and returns what it may report. CANCELLED: stopped before it began, see
  // stop_cause(). Other errors end the attempt.
  absl::StatusOr<dp::NoisedMetrics> Run(int64_t step);

  // The same on every rank.
  std::optional<StopCause> stop_cause() const { return stop_cause_; }

  // Steps below this were begun by this object: they count as released. -1 before the first.
  int64_t started_steps() const { return started_steps_; }

 private:
  template <typename Function>
  auto Timed(Phase phase, Function function) const {
    const PhaseProfile::Span span(parts_.profile, phase);
    return function();
  }

  const Parts parts_;
  std::optional<StopCause> stop_cause_;
  int64_t started_steps_ = -1;
};

}  // namespace sotto::train

#endif  // SOTTO_WORKER_TRAIN_STEP_H_
