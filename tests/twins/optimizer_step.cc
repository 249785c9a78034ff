// Compiled with Gradient=NoisedGradient, which must work, and with Gradient=ClippedSum, which must
// not: optimizers see no sum without noise.
#include "worker/dp/clipped_sum.h"
#include "worker/dp/noised_gradient.h"
#include "worker/optim/optimizer.h"

namespace sotto {

absl::Status Apply(optim::Optimizer& optimizer, const dp::Gradient& gradient) {
  return optimizer.Step(gradient, /*learning_rate=*/0.1, /*step=*/0);
}

}  // namespace sotto
