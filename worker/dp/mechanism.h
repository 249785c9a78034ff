// The Gaussian mechanism: the only consumer of ClippedSum, and the only maker of what leaves a
// step.
#ifndef SOTTO_WORKER_DP_MECHANISM_H_
#define SOTTO_WORKER_DP_MECHANISM_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/crypto/secret.h"
#include "worker/dp/clipped_sum.h"
#include "worker/dp/noised_gradient.h"
#include "worker/dp/noised_metrics.h"
#include "worker/dp/private_statistics.h"
#include "worker/grant/grant.h"

namespace sotto::dp {

struct NoisedRelease {
  NoisedGradient gradient;
  NoisedMetrics metrics;
};

// Trainer thread only.
class Mechanism {
 public:
  // Replaces each element by its sum over ranks, in rank order. Every rank calls it once a step,
  // inside Release.
  using SumOverRanks = std::function<absl::Status(absl::Span<double>)>;

  struct Options {
    // Of the attempt; for jobs that promise nothing Secret::FromPublicSeed. Moved in.
    crypto::Secret secret;
    // Noise over the L2 sensitivity of each part of the joint release; 0 adds none (not-private
    // jobs).
    double gradient_noise_multiplier = 0;
    double loss_noise_multiplier = 0;           // sensitivity: max_loss
    double clip_fraction_noise_multiplier = 0;  // sensitivity: 1
    double max_loss = 0;             // > 0, public bound of one example's loss in the statistics
    double expected_batch_size = 0;  // public, > 0
    int64_t parameters = 0;          // scalars over all ranks, for the noise floor of the norm
    // Fills NoisedMetrics::raw(). Only for jobs marked not private.
    bool report_raw = false;
    SumOverRanks sum_over_ranks;  // required; one rank: does nothing
  };

  // INVALID_ARGUMENT: a multiplier or bound that is negative or not finite, an expected batch size
  // that is not positive.
  static absl::StatusOr<std::unique_ptr<Mechanism>> Create(Options options);

  // Adds noise once to every element that this rank owns (never to padding), and to the metrics;
  // rounds the noised sum to a power-of-two grid of about noise_stddev 2^-20 before anything else
  // sees it. Noise is a function of (secret, step, canonical position): it depends neither on the
  // world size nor on the slicing. Errors: those of sum_over_ranks. Guarantee: the joint release
  // (gradient, loss, clip fraction) is one Gaussian mechanism with 1/s_eff^2 = 1/s_gradient^2 +
  // 1/s_loss^2 + 1/s_clip_fraction^2 over the sensitivities that `sum` carries.
  absl::StatusOr<NoisedRelease> Release(ClippedSum&& sum, const grant::StepGrant& grant);

 private:
  explicit Mechanism(Options options) : options_(std::move(options)) {}

  NoisedMetrics MakeMetrics(const PrivateStatistics& statistics, double noised_norm_sq,
                            double gradient_noise_stddev, const grant::StepGrant& grant) const;
  RawMetrics MakeRawMetrics(const PrivateStatistics& statistics, double norm_sq) const;

  Options options_;
};

}  // namespace sotto::dp

#endif  // SOTTO_WORKER_DP_MECHANISM_H_
