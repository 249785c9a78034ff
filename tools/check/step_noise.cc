#include "tools/check/step_noise.h"

#include "common/crypto/hkdf.h"
#include "common/crypto/secret.h"
#include "kernels/chacha_normals.h"

namespace sotto::check {

std::vector<float> StepNoise(const v1::JobPlan& plan, int64_t step, int64_t begin,
                             int64_t elements) {
  std::vector<float> noise(elements, 0);
  const double stddev = plan.privacy().gradient_noise_multiplier() * plan.privacy().clip_norm();
  if (stddev == 0) return noise;
  const crypto::Key key = crypto::DeriveKey(
      crypto::Secret::FromPublicSeed(plan.spec().privacy().seed()), "gradient noise", step);
  kernels::AddNoise(kernels::ChaChaKey::FromBytes(key), begin, stddev, absl::MakeSpan(noise));
  return noise;
}

}  // namespace sotto::check
