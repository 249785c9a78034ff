// The Gaussian mechanism: the only consumer of ClippedSum, and the only maker of what leaves a
// step.
#ifndef SOTTO_WORKER_DP_MECHANISM_H_
#define SOTTO_WORKER_DP_MECHANISM_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/crypto/secret.h"
#include "worker/dp/clipped_sum.h"
#include "worker/dp/noise_schedule.h"
#include "worker/dp/noised_gradient.h"
#include "worker/dp/noised_metrics.h"
#include "worker/dp/private_statistics.h"
#include "worker/grant/grant.h"

namespace sotto::dp {

// Trainer thread only.
class Mechanism {
 public:
  // Replaces each element by its sum over ranks, in rank order. Collective: every rank calls
  // Release and Report once a step, in this order.
  using SumOverRanks = std::function<absl::Status(absl::Span<double>)>;

  struct Options {
    // Of the attempt; for jobs that promise nothing Secret::FromPublicSeed. Moved in.
    crypto::Secret secret;
    // Of the noise schedule, ascending, the first at step 0.
    std::vector<NoiseSegment> noise;
    // The gradient sum's sensitivity under the data's adjacency, over that of adding or removing an
    // example: 1, or 2 where neighbours replace a record. The loss sum moves by at most max_loss
    // and the counts by 1 under each.
    double sensitivity_factor = 1;
    double max_loss = 0;             // > 0, public bound of one example's loss in the statistics
    double expected_batch_size = 0;  // public, > 0
    int64_t parameters = 0;          // scalars over all ranks, for the noise floor of the norm
    // Fills NoisedMetrics::raw(). Only for jobs marked not private.
    bool report_raw = false;
    SumOverRanks sum_over_ranks;  // required; one rank: does nothing
    // The same over the ranks that hold different shards of the sum; null: they all do. Replicas
    // hold equal sums and count once.
    SumOverRanks sum_over_shards;
  };

  // INVALID_ARGUMENT: those of NoiseSchedule::Create, a bound, factor or expected batch size that
  // is not positive.
  static absl::StatusOr<std::unique_ptr<Mechanism>> Create(Options options);

  // Adds the step's noise to the metrics, and binds that of the gradient to the sum: the result
  // gives every element that this rank owns (never padding) its noise once, before anything else
  // sees it, and rounds it to a power-of-two grid of about noise_stddev 2^-20. Noise is a function
  // of (secret, step, canonical position): it depends neither on the world size nor on the
  // slicing. Errors: those of the sum over ranks. Guarantee: the joint release (gradient, loss,
  // clip fraction, accuracy where its multiplier is not 0) is one Gaussian mechanism with
  // 1/s_eff^2 = 1/s_gradient^2 + 1/s_loss^2 + 1/s_clip_fraction^2 + 1/s_accuracy^2, the multipliers
  // of the step's segment, over the sensitivity that `sum` carries times sensitivity_factor.
  absl::StatusOr<NoisedGradient> Release(ClippedSum&& sum, const grant::StepGrant& grant);

  // What the step may report of its release, with the norm of the noised gradient over all ranks;
  // the same at every call. Adds the gradient's noise if nobody has asked for the gradient before.
  // Collective. Errors: those of the sum over shards.
  absl::StatusOr<NoisedMetrics> Report(const NoisedGradient& gradient) const;

 private:
  Mechanism(Options options, NoiseSchedule noise)
      : options_(std::move(options)), noise_(std::move(noise)) {}

  // All but the norms. `sensitivity`: the sum's own, of adding or removing an example.
  NoisedMetrics MakeMetrics(const PrivateStatistics& statistics, double sensitivity,
                            double gradient_noise_stddev, const grant::StepGrant& grant) const;

  const Options options_;
  const NoiseSchedule noise_;
};

}  // namespace sotto::dp

#endif  // SOTTO_WORKER_DP_MECHANISM_H_
