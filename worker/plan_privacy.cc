#include "worker/plan_privacy.h"

#include <utility>

#include "common/base/status_macros.h"

namespace sotto {

absl::StatusOr<std::unique_ptr<dp::PoissonSampler>> MakeSampler(const v1::JobPlan& plan,
                                                                int64_t records,
                                                                crypto::Secret secret) {
  ASSIGN_OR_RETURN(dp::PoissonSampler sampler,
                   dp::PoissonSampler::Create({.secret = std::move(secret),
                                               .max_records = plan.dataset().max_records(),
                                               .records = records,
                                               .sampling_rate = plan.privacy().sampling_rate(),
                                               .batch_cap = plan.privacy().batch_cap()}));
  return std::make_unique<dp::PoissonSampler>(std::move(sampler));
}

absl::StatusOr<std::unique_ptr<dp::Mechanism>> MakeMechanism(const v1::JobPlan& plan,
                                                             int64_t parameters,
                                                             comm::Communicator& communicator,
                                                             crypto::Secret secret) {
  const v1::PrivacyPlan& privacy = plan.privacy();
  return dp::Mechanism::Create(
      {.secret = std::move(secret),
       .gradient_noise_multiplier = privacy.gradient_noise_multiplier(),
       .loss_noise_multiplier = privacy.loss_noise_multiplier(),
       .clip_fraction_noise_multiplier = privacy.clip_fraction_noise_multiplier(),
       .max_loss = privacy.max_loss(),
       .expected_batch_size = plan.train().expected_batch_size(),
       .parameters = parameters,
       .report_raw = privacy.not_private() && !plan.dataset().budgeted(),
       .sum_over_ranks = [&communicator](absl::Span<double> values) {
         return communicator.AllReduceSum(values);
       }});
}

}  // namespace sotto
