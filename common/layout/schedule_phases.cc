#include "common/layout/schedule_phases.h"

#include <utility>

namespace sotto::layout {
namespace {

int NumStages(const ScheduleOptions& options) { return static_cast<int>(options.stages.size()); }

class Phases {
 public:
  Phases(const ScheduleOptions& options, int micro_batch)
      : options_(options),
        micro_batch_(micro_batch),
        first_trainable_(FirstTrainableStage(options)) {}

  std::vector<Visit> Run() {
    Forward();
    if (options_.forward_only) return std::move(visits_);
    if (options_.kept == Kept::kNothing) {
      Backward(Operation::kWeightGrad);
      return std::move(visits_);
    }
    Backward(options_.deferred_norms ? OperationSet() : Operation::kNorm);
    if (options_.deferred_norms) Add({.operations = Operation::kNorm});
    Add({.operations = Operation::kCoefficients});
    if (options_.kept == Kept::kActivations) {
      Backward(Operation::kWeightGrad);
    } else {
      Held();
    }
    return std::move(visits_);
  }

 private:
  void Forward() {
    for (int stage = 0; stage < NumStages(options_); ++stage) {
      Add({.operations = Operation::kForward,
           .stage = stage,
           .block = options_.stages[stage],
           .needs_weights = true});
    }
  }

  void Backward(OperationSet what) {
    for (int stage = NumStages(options_) - 1; stage >= first_trainable_; --stage) {
      const bool trainable = IsTrainable(options_, stage);
      const bool writes = trainable && what.Has(Operation::kWeightGrad);
      OperationSet operations = Operation::kBackwardInput;
      if (trainable) operations = operations | what;
      if (IsCheckpointed(options_, stage)) operations = operations | Operation::kRecompute;
      Add({.operations = operations,
           .stage = stage,
           .block = options_.stages[stage],
           .needs_weights = true,
           .writes_gradient = writes,
           .completes_gradient = writes && CompletesGradient(stage)});
    }
  }

  // A gradient is whole after the last stage in backward order that writes it: the root's embedding
  // is last, and so is the first of several blocks that share a unit.
  bool CompletesGradient(int stage) const {
    for (int earlier = first_trainable_; earlier < stage; ++earlier) {
      if (IsTrainable(options_, earlier) && ShareUnits(earlier, stage)) return false;
    }
    return true;
  }

  bool ShareUnits(int a, int b) const {
    const int block_a = options_.stages[a];
    const int block_b = options_.stages[b];
    if (options_.block_units.empty() || block_a == block_b) return block_a == block_b;
    return options_.block_units[block_a].front() == options_.block_units[block_b].front();
  }

  // Blocks from the last to the first, then the root.
  void Held() {
    const int last = NumStages(options_) - 1;
    for (int stage = last - 1; stage >= 0; --stage) {
      const int block = options_.stages[stage];
      const bool root = block == kRootBlock;
      if (!IsTrainable(options_, stage) && !(root && IsTrainable(options_, last))) continue;
      Add({.operations = HeldWork(block),
           .block = block,
           .needs_weights = root && HeldWork(block).Has(Operation::kWeightGrad),
           .writes_gradient = true,
           .completes_gradient = root || CompletesGradient(stage)});
    }
  }

  OperationSet HeldWork(int block) const {
    if (!options_.held_work.empty()) return options_.held_work[block];
    return options_.kept == Kept::kExampleGrads ? Operation::kFold : Operation::kWeightGrad;
  }

  void Add(Visit visit) {
    visit.micro_batch = micro_batch_;
    visits_.push_back(visit);
  }

  const ScheduleOptions& options_;
  const int micro_batch_;
  const int first_trainable_;
  std::vector<Visit> visits_;
};

}  // namespace

std::vector<Visit> PhasesOfMicroBatch(const ScheduleOptions& options, int micro_batch) {
  return Phases(options, micro_batch).Run();
}

bool IsTrainable(const ScheduleOptions& options, int stage) {
  return options.trainable_stages.empty() || options.trainable_stages[stage];
}

int FirstTrainableStage(const ScheduleOptions& options) {
  int stage = 0;
  while (stage < NumStages(options) && !IsTrainable(options, stage)) ++stage;
  return stage;
}

bool IsCheckpointed(const ScheduleOptions& options, int stage) {
  return !options.checkpointed_stages.empty() && options.checkpointed_stages[stage];
}

}  // namespace sotto::layout
