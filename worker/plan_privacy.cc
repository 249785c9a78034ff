#include "worker/plan_privacy.h"

#include <utility>

#include "worker/dp/poisson_sampler.h"

namespace sotto {

absl::StatusOr<std::unique_ptr<dp::Sampler>> MakeSampler(const v1::JobPlan& plan, int64_t records,
                                                         crypto::Secret secret) {
  return dp::PoissonSampler::Create({.secret = std::move(secret),
                                     .max_records = plan.dataset().max_records(),
                                     .records = records,
                                     .sampling_rate = plan.privacy().sampling_rate(),
                                     .batch_cap = plan.privacy().batch_cap()});
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
