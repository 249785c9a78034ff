#include "worker/plan_privacy.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/dp/full_batch_sampler.h"
#include "worker/dp/poisson_sampler.h"
#include "worker/dp/shuffled_sampler.h"

namespace sotto {
namespace {

// What names the job in every attempt; runs that repeat another one's seed have the same order too.
std::string OrderKeyOf(const v1::JobPlan& plan, const std::string& job) {
  const v1::PrivacySpec& privacy = plan.spec().privacy();
  return privacy.has_seed() ? absl::StrCat("seed ", privacy.seed()) : job;
}

std::vector<dp::NoiseSegment> NoiseOf(const v1::PrivacyPlan& privacy) {
  std::vector<dp::NoiseSegment> segments;
  for (const v1::NoiseSegment& segment : privacy.segments()) {
    segments.push_back({.first_step = segment.first_step(),
                        .gradient_multiplier = segment.gradient_noise_multiplier(),
                        .loss_multiplier = segment.loss_noise_multiplier(),
                        .clip_fraction_multiplier = segment.clip_fraction_noise_multiplier(),
                        .accuracy_multiplier = segment.accuracy_noise_multiplier()});
  }
  return segments;
}

// A second opinion on the plan's factor: too small a one would be too little noise.
absl::StatusOr<double> SensitivityFactorOf(const v1::PrivacyPlan& privacy) {
  const double factor = privacy.adjacency() == "replace_one" ? 2 : 1;
  if (privacy.adjacency() != "add_or_remove_one" && privacy.adjacency() != "zero_out" &&
      privacy.adjacency() != "replace_one") {
    return absl::FailedPreconditionError(
        absl::StrCat("this worker does not know the adjacency \"", privacy.adjacency(), "\""));
  }
  if (privacy.sensitivity_factor() == factor) return factor;
  return absl::FailedPreconditionError(
      absl::StrCat("under ", privacy.adjacency(), " the sensitivity factor is ", factor,
                   ", but the plan's is ", privacy.sensitivity_factor()));
}

absl::StatusOr<std::unique_ptr<dp::Sampler>> MakeShuffledSampler(const v1::JobPlan& plan,
                                                                 const std::string& job,
                                                                 int64_t records) {
  if (plan.privacy().adjacency() == "add_or_remove_one" && !plan.privacy().not_private()) {
    return absl::FailedPreconditionError(
        "shuffled batches promise nothing under the adjacency add_or_remove_one");
  }
  const v1::SamplerPlan& sampler = plan.privacy().sampler();
  ASSIGN_OR_RETURN(std::unique_ptr<dp::ShuffledSampler> shuffled,
                   dp::ShuffledSampler::Create({.order_key = OrderKeyOf(plan, job),
                                                .max_records = plan.dataset().max_records(),
                                                .records = records,
                                                .batch_places = sampler.batch_places(),
                                                .batch_cap = plan.privacy().batch_cap()}));
  if (shuffled->steps_per_epoch() == sampler.steps_per_epoch()) return shuffled;
  return absl::FailedPreconditionError(absl::StrCat("an epoch has ", shuffled->steps_per_epoch(),
                                                    " steps, but in the plan ",
                                                    sampler.steps_per_epoch()));
}

}  // namespace

absl::StatusOr<std::unique_ptr<dp::Sampler>> MakeSampler(const v1::JobPlan& plan,
                                                         const std::string& job, int64_t records,
                                                         crypto::Secret secret) {
  const v1::PrivacyPlan& privacy = plan.privacy();
  switch (privacy.sampler().kind()) {
    case v1::SamplerPlan::POISSON:
      return dp::PoissonSampler::Create({.secret = std::move(secret),
                                         .max_records = plan.dataset().max_records(),
                                         .records = records,
                                         .sampling_rate = privacy.sampling_rate(),
                                         .batch_cap = privacy.batch_cap()});
    case v1::SamplerPlan::SHUFFLED:
      return MakeShuffledSampler(plan, job, records);
    case v1::SamplerPlan::FULL_BATCH:
      return dp::FullBatchSampler::Create({.max_records = plan.dataset().max_records(),
                                           .records = records,
                                           .batch_cap = privacy.batch_cap()});
    default:
      return absl::FailedPreconditionError("the plan names no sampler that this worker knows");
  }
}

absl::StatusOr<std::unique_ptr<dp::Mechanism>> MakeMechanism(const v1::JobPlan& plan,
                                                             fsdp::ShardedParameters& parameters,
                                                             crypto::Secret secret) {
  const v1::PrivacyPlan& privacy = plan.privacy();
  ASSIGN_OR_RETURN(const double sensitivity_factor, SensitivityFactorOf(privacy));
  return dp::Mechanism::Create(
      {.secret = std::move(secret),
       .noise = NoiseOf(privacy),
       .sensitivity_factor = sensitivity_factor,
       .max_loss = privacy.max_loss(),
       .expected_batch_size = plan.train().expected_batch_size(),
       .parameters = parameters.layout().trainable_elements(),
       .report_raw = privacy.not_private() && !plan.dataset().budgeted(),
       .sum_over_ranks =
           [&parameters](absl::Span<double> values) {
             return parameters.communicator().AllReduceSum(values);
           },
       .sum_over_shards =
           [&parameters](absl::Span<double> values) { return parameters.SumOverShards(values); }});
}

}  // namespace sotto
