// NoisedGradients for tests of optimizers: given sums through a mechanism.
#ifndef SOTTO_WORKER_DP_TESTING_NOISED_GRADIENTS_H_
#define SOTTO_WORKER_DP_TESTING_NOISED_GRADIENTS_H_

#include <vector>

#include "worker/dp/noised_gradient.h"
#include "worker/dp/shard_slice.h"

namespace sotto::dp {

// Noise is the same at every call; none by default. The sums get it when they are asked for.
NoisedGradient MakeNoisedGradient(std::vector<ShardSlice> sums, double expected_batch_size,
                                  double noise_stddev = 0);

}  // namespace sotto::dp

#endif  // SOTTO_WORKER_DP_TESTING_NOISED_GRADIENTS_H_
