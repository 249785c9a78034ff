#ifndef SOTTO_WORKER_DP_ADAPTIVE_THRESHOLD_H_
#define SOTTO_WORKER_DP_ADAPTIVE_THRESHOLD_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "worker/dp/clip_threshold.h"

namespace sotto::dp {

// Follows a quantile of the examples' norms (Andrew et al. 2021, arXiv 1905.03871): with f the
// noised fraction of clipped examples, C <- C exp(-learning_rate ((1 - f) - target_quantile)),
// kept in [minimum, maximum]. f is counted over the public expected batch size, so places of the
// dataset that hold no record count as not clipped.
// Guarantee: C is a function of released values. The fraction's cost is in the step's epsilon
// already: it is the clip fraction of the joint release.
class AdaptiveThreshold final : public ClipThreshold {
 public:
  struct Options {
    double initial = 0;          // C of the first step, in [minimum, maximum]
    double target_quantile = 0;  // in (0, 1): share of examples that C shall not clip
    double learning_rate = 0;    // of log C; > 0
    double minimum = 0;          // > 0
    double maximum = 0;
  };

  // INVALID_ARGUMENT: an option out of its range.
  static absl::StatusOr<std::unique_ptr<AdaptiveThreshold>> Create(const Options& options);

  double At(int64_t /*step*/) const override { return clip_norm_; }
  void Observe(const NoisedMetrics& metrics) override;
  double* state() override { return &clip_norm_; }

 private:
  explicit AdaptiveThreshold(const Options& options)
      : options_(options), clip_norm_(options.initial) {}

  const Options options_;
  double clip_norm_;  // of the next step
};

}  // namespace sotto::dp

#endif  // SOTTO_WORKER_DP_ADAPTIVE_THRESHOLD_H_
