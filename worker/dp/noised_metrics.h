// What a step reports: the only numbers of a step that leave a worker. No torch in here.
#ifndef SOTTO_WORKER_DP_NOISED_METRICS_H_
#define SOTTO_WORKER_DP_NOISED_METRICS_H_

#include <cstdint>
#include <optional>

namespace sotto::dp {

// Values without noise. They exist only for jobs that are marked not private
// (Mechanism::Options::report_raw).
struct RawMetrics {
  double mean_loss = 0;  // over the drawn batch; 0 when it is empty
  double clip_fraction = 0;
  int64_t sampled_batch_size = 0;
  double gradient_norm = 0;  // of the clipped sum / expected_batch_size
  // Share of the drawn records whose label the model finds; nothing without labels or records.
  std::optional<double> accuracy;
};

// Copyable; made by the mechanism, inside the step's epsilon, equal on every rank.
class NoisedMetrics {
 public:
  int64_t step() const { return step_; }
  int64_t attempt() const { return attempt_; }

  // C of this step: public, or made from earlier steps' noised clip fractions.
  double clip_norm() const { return clip_norm_; }
  // L2 norm of the noised mean gradient over all ranks.
  double noised_gradient_norm() const { return noised_gradient_norm_; }
  // The same with the expected share of the noise subtracted from its square; 0 when below it.
  double corrected_gradient_norm() const { return corrected_gradient_norm_; }
  // Public: norms below this are not told from 0.
  double gradient_norm_resolution() const { return gradient_norm_resolution_; }

  // Sums of clipped losses (of clipped examples), with noise, over expected_batch_size. Not
  // clamped: may be negative.
  double noised_mean_loss() const { return noised_mean_loss_; }
  double mean_loss_standard_error() const { return mean_loss_standard_error_; }
  double noised_clip_fraction() const { return noised_clip_fraction_; }
  double clip_fraction_standard_error() const { return clip_fraction_standard_error_; }

  // The same of the count of examples whose label the model finds. Nothing where it is not asked
  // for: without noise it never leaves.
  std::optional<double> noised_accuracy() const { return noised_accuracy_; }
  double accuracy_standard_error() const { return accuracy_standard_error_; }

  const std::optional<RawMetrics>& raw() const { return raw_; }

 private:
  friend class Mechanism;
  NoisedMetrics() = default;

  int64_t step_ = 0;
  int64_t attempt_ = 0;
  double clip_norm_ = 0;
  double noised_gradient_norm_ = 0;
  double corrected_gradient_norm_ = 0;
  double gradient_norm_resolution_ = 0;
  double noised_mean_loss_ = 0;
  double mean_loss_standard_error_ = 0;
  double noised_clip_fraction_ = 0;
  double clip_fraction_standard_error_ = 0;
  std::optional<double> noised_accuracy_;
  double accuracy_standard_error_ = 0;
  std::optional<RawMetrics> raw_;
};

}  // namespace sotto::dp

#endif  // SOTTO_WORKER_DP_NOISED_METRICS_H_
