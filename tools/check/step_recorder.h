// Records what a training computes, step by step.
#ifndef SOTTO_TOOLS_CHECK_STEP_RECORDER_H_
#define SOTTO_TOOLS_CHECK_STEP_RECORDER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "proto/sotto/v1/plan.pb.h"
#include "tools/check/recorded_run.h"
#include "tools/check/training_rank.h"
#include "worker/fsdp/sharded_parameters.h"
#include "worker/train/phase_profile.h"
#include "worker/train/train_observer.h"

namespace sotto::check {

// Trainer thread only. Collective: every rank's training has one, and each gathers the model after
// each step. For jobs that promise nothing: it reads raw metrics and gradient shards.
class StepRecorder : public train::TrainObserver {
 public:
  // Borrows both.
  StepRecorder(const RunRequest& request, Clock& clock);

  // Must be called before the first step; borrowed.
  void Observe(fsdp::ShardedParameters& parameters, const train::PhaseProfile& profile);

  // The first error that a step ran into, or the record, peaks over all ranks included. Collective.
  absl::StatusOr<RecordedRun> Finish();

  void OnStep(const dp::NoisedMetrics& metrics, double learning_rate,
              double seconds_per_step) override;
  void OnProgress(int64_t, double) override {}
  void OnEvaluation(int64_t, double) override {}
  void OnCheckpoint(int64_t, const std::string&) override {}
  void OnNote(const std::string&) override {}

 private:
  // What the phases took since the step before.
  std::vector<RecordedPhase> PhasesOfStep();
  absl::Status Record(const dp::NoisedMetrics& metrics);
  // Norm of the whole model and its distance from the reference; takes a snapshot where one is due.
  absl::Status MeasureParameters(RecordedStep& step);
  absl::Status MeasureLayers(int64_t step);
  // By unit and parameter, over all ranks, without the step's noise, over the expected batch size.
  absl::StatusOr<std::vector<std::vector<double>>> GradientNorms(int64_t step);

  const RunRequest& request_;
  const v1::JobPlan& plan_;
  const Snapshots& snapshots_;
  Clock& clock_;
  fsdp::ShardedParameters* parameters_ = nullptr;
  const train::PhaseProfile* profile_ = nullptr;
  std::vector<train::PhaseProfile::Total> totals_;  // after the step before
  absl::Time begin_;
  absl::Status status_;
  RecordedRun run_;
};

}  // namespace sotto::check

#endif  // SOTTO_TOOLS_CHECK_STEP_RECORDER_H_
