#include "worker/plan_clipping.h"

#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/dp/adaptive_threshold.h"
#include "worker/dp/automatic_clipping.h"
#include "worker/dp/flat_clipping.h"
#include "worker/dp/per_unit_clipping.h"
#include "worker/dp/scheduled_threshold.h"
#include "worker/plan_schedule.h"

namespace sotto {

absl::StatusOr<std::shared_ptr<const dp::ClippingRule>> MakeClippingRule(const v1::JobPlan& plan) {
  const v1::PrivacyPlan& privacy = plan.privacy();
  const double margin = privacy.clip_margin();
  if (margin < dp::RoundingMargin(privacy.batch_cap())) {
    return absl::FailedPreconditionError(
        absl::StrCat("clip_margin must be at least ", dp::RoundingMargin(privacy.batch_cap()),
                     " for a batch of ", privacy.batch_cap(), ", but is ", margin));
  }
  const v1::ClippingPlan& clipping = privacy.clipping();
  switch (clipping.rule()) {
    case v1::ClippingPlan::FLAT:
    case v1::ClippingPlan::ADAPTIVE:
      return dp::FlatClipping::Create(privacy.clip_norm(), margin);
    case v1::ClippingPlan::PER_UNIT:
      return dp::PerUnitClipping::Create(
          {clipping.unit_thresholds().begin(), clipping.unit_thresholds().end()}, margin);
    case v1::ClippingPlan::AUTOMATIC:
      return dp::AutomaticClipping::Create(privacy.clip_norm(), clipping.gamma(), margin);
    default:
      return absl::FailedPreconditionError("the plan names no clipping that this worker knows");
  }
}

absl::StatusOr<std::unique_ptr<dp::ClipThreshold>> MakeClipThreshold(const v1::JobPlan& plan) {
  const v1::PrivacyPlan& privacy = plan.privacy();
  const Schedule schedule = ScheduleOf(plan.spec().privacy().clip_schedule(), plan.train().steps());
  const v1::ClippingPlan& clipping = privacy.clipping();
  if (clipping.rule() != v1::ClippingPlan::ADAPTIVE) {
    return std::make_unique<dp::ScheduledThreshold>(privacy.clip_norm(), schedule);
  }
  if (schedule.shape != Schedule::Shape::kConstant) {
    return absl::FailedPreconditionError("an adaptive clip norm follows no schedule");
  }
  for (const v1::NoiseSegment& segment : privacy.segments()) {
    if (privacy.not_private() || segment.clip_fraction_noise_multiplier() > 0) continue;
    return absl::FailedPreconditionError(
        "an adaptive clip norm needs clip fractions that are released with noise");
  }
  return dp::AdaptiveThreshold::Create({.initial = privacy.clip_norm(),
                                        .target_quantile = clipping.target_quantile(),
                                        .learning_rate = clipping.learning_rate(),
                                        .minimum = clipping.minimum(),
                                        .maximum = clipping.maximum()});
}

}  // namespace sotto
