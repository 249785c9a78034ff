#include "worker/train/step.h"

#include <utility>

#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "worker/dp/noised_gradient.h"

namespace sotto::train {

absl::StatusOr<dp::NoisedMetrics> Step::Run(int64_t step) {
  ASSIGN_OR_RETURN(const grant::StepGrant grant,  // The ledger committed it before it was sent.
                   AuthorizeOnAllRanks(parts_.gate, parts_.communicator, step, &stop_cause_));
  started_steps_ = step + 1;
  SOTTO_LOG(INFO) << "step " << grant.step() << " of attempt " << grant.attempt() << " starts";
  const dp::Batch batch =  // May be empty, and is released all the same.
      Timed(Phase::kSampling, [&] { return parts_.sampler.Sample(grant); });
  ASSIGN_OR_RETURN(dp::ClippedSum sum,
                   parts_.summer.SumClippedGradients(batch, parts_.clip_threshold.At(step), step));

  // ---- private above, post-processing below ----

  ASSIGN_OR_RETURN(const dp::NoisedGradient noised, Timed(Phase::kRelease, [&] {
                     return parts_.mechanism.Release(std::move(sum), grant);
                   }));
  if (parts_.checkpointer != nullptr) parts_.checkpointer->AwaitRead();
  RETURN_IF_ERROR(Timed(Phase::kUpdate, [&] {  // Piece by piece: noise, then weights.
    return parts_.optimizer.Step(noised, parts_.learning_rate.At(step), step);
  }));
  ASSIGN_OR_RETURN(dp::NoisedMetrics metrics,
                   Timed(Phase::kRelease, [&] { return parts_.mechanism.Report(noised); }));
  parts_.clip_threshold.Observe(metrics);  // Sets the next step's.
  return metrics;
}

}  // namespace sotto::train
