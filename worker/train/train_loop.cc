#include "worker/train/train_loop.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "common/base/status_macros.h"
#include "kernels/sum_of_squares.h"
#include "worker/memory/cached_memory.h"
#include "worker/train/agreement.h"
#include "worker/train/checkpoint_units.h"
#include "worker/train/failure_reason.h"
#include "worker/train/initial_weights.h"

namespace sotto::train {
namespace {

// Weight of the latest step in the smoothed seconds per step.
constexpr double kLatestWeight = 0.2;

// Another attempt may do better where the group of ranks broke or a disk failed.
absl::Status Blame(absl::Status status, FailureReason reason) {
  if (status.ok() || absl::IsUnavailable(status) || absl::IsAborted(status)) return status;
  return WithFailureReason(std::move(status), reason);
}

}  // namespace

TrainLoop::TrainLoop(const Options& options, const Parts& parts)
    : options_(options), parts_(parts) {
  if (parts_.checkpointer == nullptr) return;
  saver_.emplace(*parts_.checkpointer, parts_.parameters, parts_.observer);
}

absl::StatusOr<TrainLoop::Outcome> TrainLoop::Run() {
  RETURN_IF_ERROR(RestoreOrInitialize());
  if (completed_steps_ == 0) RETURN_IF_ERROR(Evaluate());
  ClearCaches();
  while (completed_steps_ < options_.end_step) {
    const absl::Status status = RunStep();
    if (absl::IsCancelled(status) && parts_.step.stop_cause().has_value()) {
      return StopEarly(*parts_.step.stop_cause());
    }
    RETURN_IF_ERROR(status);
    if (completed_steps_ == options_.end_step) break;
    const bool saves = IsDue(options_.checkpoint_every_steps);
    const bool evaluates =
        IsDue(options_.evaluation_every_steps) || (saves && options_.evaluate_checkpoints);
    if (saves) RETURN_IF_ERROR(Save());
    if (evaluates) RETURN_IF_ERROR(Evaluate());
    if (evaluates || IsDue(options_.clear_caches_every_steps)) ClearCaches();
  }
  RETURN_IF_ERROR(Save());
  RETURN_IF_ERROR(Evaluate());
  RETURN_IF_ERROR(FinishSave());
  return Outcome{.completed_steps = completed_steps_};
}

int64_t TrainLoop::started_steps() const {
  return std::max(first_step_, parts_.step.started_steps());
}

absl::Status TrainLoop::Initialize() {
  if (options_.hugging_face_directory.empty()) {
    parts_.parameters.Initialize(options_.init_seed);
    return absl::OkStatus();
  }
  absl::Status status =
      LoadHuggingFace(options_.hugging_face_directory, options_.init_seed, parts_.parameters);
  if (status.ok()) status = CheckFinite(parts_.parameters);
  return Blame(std::move(status), FailureReason::kPlanCannotRun);
}

absl::Status TrainLoop::RestoreOrInitialize() {
  if (parts_.checkpointer == nullptr) return Initialize();
  const absl::StatusOr<checkpoint::Checkpointer::Restored> restored =
      parts_.checkpointer->Restore(State(), Numbers());
  if (absl::IsNotFound(restored.status())) {
    RETURN_IF_ERROR(Initialize());
  } else if (!restored.ok()) {
    return Blame(restored.status(), FailureReason::kInvalidCheckpoint);
  } else {
    first_step_ = completed_steps_ = saved_step_ = restored->step;
    for (const std::string& note : restored->notes) parts_.observer.OnNote(note);
    parts_.observer.OnNote(absl::StrCat("resumed at step ", restored->step));
  }
  return CheckRanksAgree(parts_.parameters.communicator(), "checkpoint to start from",
                         absl::StrCat(saved_step_, " ", restored.ok() ? restored->directory : ""));
}

absl::Status TrainLoop::RunStep() {
  const absl::Time begin = parts_.clock.Now();
  ASSIGN_OR_RETURN(const dp::NoisedMetrics metrics, parts_.step.Run(completed_steps_));
  RETURN_IF_ERROR(CheckFiniteAndAdvanceSave());
  const double seconds = absl::ToDoubleSeconds(parts_.clock.Now() - begin);
  seconds_per_step_ = seconds_per_step_ == 0
                          ? seconds
                          : seconds_per_step_ + kLatestWeight * (seconds - seconds_per_step_);
  parts_.observer.OnProgress(started_steps(), seconds_per_step_);
  parts_.observer.OnStep(metrics, parts_.learning_rate.At(completed_steps_), seconds_per_step_);
  ++completed_steps_;
  return absl::OkStatus();
}

// From here on all examples' gradients would be NaN, and be left out: steps would be paid for that
// train nothing. Parameters are released, so looking at them costs nothing.
absl::Status TrainLoop::CheckFiniteAndAdvanceSave() {
  double norm_sq = 0;
  const int units = static_cast<int>(parts_.parameters.model().units.size());
  for (int unit = 0; unit < units; ++unit) {
    const at::Tensor& shard = parts_.parameters.MasterShard(unit);
    if (shard.numel() == 0) continue;
    norm_sq += kernels::SumOfSquares64(
        absl::MakeConstSpan(shard.const_data_ptr<float>(), static_cast<size_t>(shard.numel())));
  }
  const Saver::Counts save = saver_.has_value() ? saver_->Progress() : Saver::Counts{};
  std::array<double, 3> sums = {norm_sq, save.writing, save.failed};
  RETURN_IF_ERROR(parts_.parameters.communicator().AllReduceSum(absl::MakeSpan(sums)));
  if (saver_.has_value()) {
    RETURN_IF_ERROR(saver_->Advance({.writing = sums[1], .failed = sums[2]}));
  }
  if (std::isfinite(sums[0])) return absl::OkStatus();
  return WithFailureReason(
      absl::OutOfRangeError(absl::StrCat(
          "step ", completed_steps_,
          " made parameters infinite or NaN: try a smaller learning rate, clip norm or noise")),
      FailureReason::kNotFinite);
}

absl::StatusOr<TrainLoop::Outcome> TrainLoop::StopEarly(StopCause cause) {
  if (cause != StopCause::kAbort) {
    RETURN_IF_ERROR(Save());
    if (cause == StopCause::kFinish) RETURN_IF_ERROR(Evaluate());
    RETURN_IF_ERROR(FinishSave());
  }
  return Outcome{.stopped = cause, .completed_steps = completed_steps_};
}

absl::Status TrainLoop::Save() {
  if (!saver_.has_value() || saved_step_ == completed_steps_) return absl::OkStatus();
  saved_step_ = completed_steps_;
  return saver_->Begin(completed_steps_, State(), Numbers());
}

// Nobody leaves before the checkpoint counts.
absl::Status TrainLoop::FinishSave() {
  return saver_.has_value() ? saver_->Finish() : absl::OkStatus();
}

absl::Status TrainLoop::Evaluate() {
  if (parts_.evaluator == nullptr) return absl::OkStatus();
  ASSIGN_OR_RETURN(const double loss, parts_.evaluator->MeanLoss());
  parts_.observer.OnEvaluation(completed_steps_, loss);
  if (saver_.has_value() && saved_step_ == completed_steps_) saver_->SetEvaluationLoss(loss);
  return absl::OkStatus();
}

// When, says the number of completed steps alone: all ranks are at the same place without asking
// each other, and none waits in a collective for one that is still clearing an earlier step's.
void TrainLoop::ClearCaches() {
  if (options_.clear_caches_every_steps == 0) return;
  const int64_t released =
      memory::ReleaseCachedMemory(parts_.parameters.MasterShard(/*unit=*/0).device());
  parts_.observer.OnCachesCleared(completed_steps_, released);
}

std::vector<checkpoint::ShardState> TrainLoop::State() {
  const layout::ModelDescription& model = parts_.parameters.model();
  std::vector<checkpoint::ShardState> state;
  const auto add = [&state](const std::string& unit, const std::string& kind,
                            const at::Tensor& values) {
    if (values.numel() > 0) state.push_back({unit, kind, values});
  };
  for (int unit = 0; unit < static_cast<int>(model.units.size()); ++unit) {
    const std::string& name = model.units[unit].name;
    add(name, "master", parts_.parameters.MasterShard(unit));
    add(FrozenUnitName(name), "master", parts_.parameters.FrozenShard(unit));
  }
  for (const optim::StateTensor& tensor : parts_.optimizer.State()) {
    add(model.units[tensor.unit].name, tensor.name, tensor.values);
  }
  return state;
}

std::vector<checkpoint::NumberState> TrainLoop::Numbers() {
  std::vector<checkpoint::NumberState> numbers;
  if (double* clip_norm = parts_.clip_threshold.state(); clip_norm != nullptr) {
    numbers.push_back({"clip_norm", clip_norm});
  }
  for (const optim::StateNumber& number : parts_.optimizer.Numbers()) {
    numbers.push_back({number.name, number.value});
  }
  return numbers;
}

}  // namespace sotto::train
