#include "worker/train/step.h"

#include <utility>

#include "common/base/log.h"
#include "common/base/status_macros.h"

namespace sotto::train {

absl::StatusOr<dp::NoisedMetrics> Step::Run(int64_t step) {
  ASSIGN_OR_RETURN(const grant::StepGrant grant,  // The ledger committed it before it was sent.
                   AuthorizeOnAllRanks(parts_.gate, parts_.communicator, step, &stop_cause_));
  started_steps_ = step + 1;
  SOTTO_LOG(INFO) << "step " << grant.step() << " of attempt " << grant.attempt() << " starts";
  const dp::Batch batch =
      parts_.sampler.Sample(grant);  // May be empty, and is released all the same.
  ASSIGN_OR_RETURN(dp::ClippedSum sum, parts_.summer.SumClippedGradients(batch));

  // ---- private above, post-processing below ----

  ASSIGN_OR_RETURN(dp::NoisedRelease noised, parts_.mechanism.Release(std::move(sum), grant));
  RETURN_IF_ERROR(parts_.optimizer.Step(noised.gradient, parts_.learning_rate.At(step), step));
  return noised.metrics;
}

}  // namespace sotto::train
