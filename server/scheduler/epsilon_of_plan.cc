#include "server/scheduler/epsilon_of_plan.h"

#include <limits>
#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "server/accounting/epsilon_curve.h"

namespace sotto::scheduler {

JobMachine::EpsilonOf EpsilonOfPlan(const v1::JobPlan& plan) {
  const v1::PrivacyPlan& privacy = plan.privacy();
  if (privacy.not_private()) return [](int64_t) { return 0.0; };
  absl::StatusOr<accounting::EpsilonCurve> curve =
      accounting::EpsilonCurve::Create({privacy.sampling_rate(), privacy.noise_multiplier()},
                                       privacy.planned_steps(), privacy.accounting_delta());
  if (!curve.ok()) return [](int64_t) { return std::numeric_limits<double>::infinity(); };
  // Shared, because a std::function must be copyable.
  const auto shared = std::make_shared<const accounting::EpsilonCurve>(*std::move(curve));
  return [shared](int64_t releases) { return shared->At(releases).epsilon; };
}

}  // namespace sotto::scheduler
