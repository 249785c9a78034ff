#ifndef SOTTO_WORKER_DP_PER_UNIT_CLIPPING_H_
#define SOTTO_WORKER_DP_PER_UNIT_CLIPPING_H_

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "worker/dp/clipping_rule.h"

namespace sotto::dp {

// One norm per unit, each clipped at its own threshold: factor_u = min(1, C'_u / norm_u). The whole
// gradient moves the sum by at most C = sqrt(sum_u C_u^2).
class PerUnitClipping final : public ClippingRule {
 public:
  // `thresholds[u]` is C_u of unit u; 0 for a unit without trainable parameters. INVALID_ARGUMENT:
  // no positive one, one that is negative or not finite, a margin outside [0, 1).
  static absl::StatusOr<std::shared_ptr<const ClippingRule>> Create(std::vector<double> thresholds,
                                                                    double margin);

  // Equal thresholds for the units that train, with sum of squares C^2.
  static absl::StatusOr<std::shared_ptr<const ClippingRule>> CreateEqual(
      double clip_norm, const std::vector<bool>& trains, double margin);

  L2Sensitivity sensitivity() const override { return L2Sensitivity(clip_norm_); }
  int num_groups() const override { return static_cast<int>(thresholds_.size()); }
  int GroupOf(int unit) const override { return unit; }
  void Factors(absl::Span<const double> norm_sq_G, absl::Span<float> factors_G) const override;
  absl::StatusOr<std::shared_ptr<const ClippingRule>> WithClipNorm(double clip_norm) const override;

 private:
  PerUnitClipping(std::vector<double> thresholds, double clip_norm, double margin);

  const std::vector<double> thresholds_;
  const double clip_norm_;
  const double margin_;
};

}  // namespace sotto::dp

#endif  // SOTTO_WORKER_DP_PER_UNIT_CLIPPING_H_
