#include "common/layout/schedule_phases.h"

#include <set>
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
           .unit = options_.stages[stage],
           .needs_weights = true});
    }
  }

  void Backward(OperationSet what) {
    for (int stage = NumStages(options_) - 1; stage >= first_trainable_; --stage) {
      const bool trainable = IsTrainable(options_, stage);
      const bool writes = trainable && what.Has(Operation::kWeightGrad);
      Add({.operations = trainable ? Operation::kBackwardInput | what : Operation::kBackwardInput,
           .stage = stage,
           .unit = options_.stages[stage],
           .needs_weights = true,
           .writes_gradient = writes,
           .completes_gradient = writes && CompletesGradient(stage)});
    }
  }

  // The root's gradient is whole after the first stage: its embedding is last.
  bool CompletesGradient(int stage) const {
    return stage == 0 || options_.stages[stage] != kRootUnit || !IsTrainable(options_, 0);
  }

  // Blocks from the last to the first, then the root.
  void Held() {
    const int last = NumStages(options_) - 1;
    for (int stage = last - 1; stage >= 0; --stage) {
      const int unit = options_.stages[stage];
      const bool root = unit == kRootUnit;
      if (!IsTrainable(options_, stage) && !(root && IsTrainable(options_, last))) continue;
      Add({.operations = HeldWork(unit),
           .unit = unit,
           .needs_weights = root && HeldWork(unit).Has(Operation::kWeightGrad),
           .writes_gradient = true,
           .completes_gradient = true});
    }
  }

  OperationSet HeldWork(int unit) const {
    if (!options_.held_work.empty()) return options_.held_work[unit];
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

int CountTrainableUnits(const ScheduleOptions& options) {
  std::set<int> units;
  for (int stage = 0; stage < NumStages(options); ++stage) {
    if (IsTrainable(options, stage)) units.insert(options.stages[stage]);
  }
  return static_cast<int>(units.size());
}

}  // namespace sotto::layout
