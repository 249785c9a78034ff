#include "worker/train/saver.h"

#include <array>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace sotto::train {

absl::Status Saver::Begin(int64_t step, absl::Span<const checkpoint::ShardState> shards,
                          absl::Span<const checkpoint::NumberState> numbers) {
  RETURN_IF_ERROR(FinishWriting());
  RETURN_IF_ERROR(FinishCommit());
  step_ = step;
  is_writing_ = true;
  if (parameters_.replica() == 0) {  // The others hold the same.
    checkpointer_.StartWriting(step, shards, numbers);
  }
  return absl::OkStatus();
}

Saver::Counts Saver::Progress() {
  if (!is_writing_) return {};
  if (checkpointer_.IsWriting()) return {.writing = 1};
  written_.Update(checkpointer_.AwaitWritten());
  return {.failed = written_.ok() ? 0.0 : 1.0};
}

absl::Status Saver::Advance(const Counts& sums) {
  if (sums.failed > 0) {
    RETURN_IF_ERROR(written_);
    return absl::UnavailableError(
        absl::StrCat("another rank could not write its part of the checkpoint at step ", step_));
  }
  if (is_committing_ && !checkpointer_.IsCommitting()) RETURN_IF_ERROR(FinishCommit());
  if (is_writing_ && sums.writing == 0) AllHaveWritten();
  return absl::OkStatus();
}

absl::Status Saver::Finish() {
  RETURN_IF_ERROR(FinishWriting());
  RETURN_IF_ERROR(FinishCommit());
  return parameters_.communicator().Barrier();
}

absl::Status Saver::FinishWriting() {
  if (!is_writing_) return absl::OkStatus();
  written_.Update(checkpointer_.AwaitWritten());
  std::array<double, 1> failed = {written_.ok() ? 0.0 : 1.0};
  RETURN_IF_ERROR(parameters_.communicator().AllReduceSum(absl::MakeSpan(failed)));
  return Advance({.failed = failed[0]});
}

void Saver::AllHaveWritten() {
  is_writing_ = false;
  if (parameters_.communicator().rank() != 0) return;
  checkpointer_.StartCommit();
  is_committing_ = true;
}

absl::Status Saver::FinishCommit() {
  if (!is_committing_) return absl::OkStatus();
  is_committing_ = false;
  ASSIGN_OR_RETURN(const std::string directory, checkpointer_.AwaitCommitted());
  observer_.OnCheckpoint(step_, directory);
  return absl::OkStatus();
}

}  // namespace sotto::train
