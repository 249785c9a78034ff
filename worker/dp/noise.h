// Noise on a shard.
#ifndef SOTTO_WORKER_DP_NOISE_H_
#define SOTTO_WORKER_DP_NOISE_H_

#include "common/crypto/hkdf.h"
#include "worker/dp/shard_slice.h"

namespace sotto::dp {

// Adds noise of standard deviation `stddev` to the used elements of the slice, in place: element i
// gets the normal of (key, canonical_base + i), whoever owns it and however the buffer is cut.
// Padding is left as it is. Splits the work over ATen's threads; the result does not depend on
// their number.
void AddNoiseToSlice(const crypto::Key& key, double stddev, const ShardSlice& slice);

// Sum of squares of the used elements, in fp64; does not depend on the number of threads.
double NormSqOfSlice(const ShardSlice& slice);

}  // namespace sotto::dp

#endif  // SOTTO_WORKER_DP_NOISE_H_
