#include "worker/dp/testing/noised_gradients.h"

#include <utility>

#include "worker/dp/mechanism.h"
#include "worker/dp/testing/sensitivity.h"
#include "worker/grant/testing/step_grants.h"

namespace sotto::dp {

NoisedGradient MakeNoisedGradient(std::vector<ShardSlice> sums, double expected_batch_size,
                                  double noise_stddev) {
  std::unique_ptr<Mechanism> mechanism = *Mechanism::Create({
      .secret = crypto::Secret::FromPublicSeed(0),
      .noise = {{.gradient_multiplier = noise_stddev}},
      .max_loss = 1,
      .expected_batch_size = expected_batch_size,
      .sum_over_ranks = [](absl::Span<double>) { return absl::OkStatus(); },
  });
  ClippedSum sum(ClippedSumPasskey::Vouch(), std::move(sums), PrivateStatistics(),
                 SensitivityOfFlatClipping(1));
  return *mechanism->Release(std::move(sum), grant::GrantStep(0));
}

}  // namespace sotto::dp
