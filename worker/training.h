// One rank's training, put together from a plan. Knows nothing of coordinators: grants come through
// the gate, reports go to the observer.
#ifndef SOTTO_WORKER_TRAINING_H_
#define SOTTO_WORKER_TRAINING_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "common/crypto/secret.h"
#include "common/layout/flat_layout.h"
#include "common/layout/model_description.h"
#include "proto/sotto/v1/plan.pb.h"
#include "worker/comm/communicator.h"
#include "worker/fsdp/sharded_parameters.h"
#include "worker/grant/grant_gate.h"
#include "worker/optim/optimizer.h"
#include "worker/train/phase_profile.h"
#include "worker/train/train_loop.h"
#include "worker/train/train_observer.h"

namespace sotto {

// Trainer thread only; collective.
class Training {
 public:
  struct Options {
    v1::JobPlan plan;
    std::string job;
    int64_t attempt = 0;
    std::string checkpoint_directory;  // empty: no checkpoints
    int64_t end_step = 0;              // exclusive
  };

  // Borrowed.
  struct Parts {
    comm::Communicator& communicator;
    grant::GrantGate& gate;
    train::TrainObserver& observer;
    Clock& clock;
  };

  // Reads and checks the dataset, describes the model, allocates everything that lives as long as
  // the training; `secret` keys sampling and noise. Ranks compare their plans. The Status carries a
  // train::FailureReason.
  static absl::StatusOr<std::unique_ptr<Training>> Create(Options options, crypto::Secret secret,
                                                          const Parts& parts);
  ~Training();

  // The loop. LibTorch's exceptions come out as Status.
  absl::StatusOr<train::TrainLoop::Outcome> Run();

  int64_t started_steps() const;
  int64_t completed_steps() const;

  // The model's parameters and the optimizer's state on this rank, for tests and tools.
  fsdp::ShardedParameters& parameters();
  optim::Optimizer& optimizer();

  // Where this rank's time went.
  const train::PhaseProfile& phase_profile() const;

 private:
  class Assembly;

  explicit Training(std::unique_ptr<Assembly> assembly);

  std::unique_ptr<Assembly> assembly_;
};

}  // namespace sotto

#endif  // SOTTO_WORKER_TRAINING_H_
