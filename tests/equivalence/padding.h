// Whether everything that a rank holds beside its parameters' elements is zero.
#ifndef SOTTO_TESTS_EQUIVALENCE_PADDING_H_
#define SOTTO_TESTS_EQUIVALENCE_PADDING_H_

#include <vector>

#include "absl/status/status.h"
#include "worker/fsdp/sharded_parameters.h"
#include "worker/optim/optimizer.h"

namespace sotto::equivalence {

// Master, frozen and gradient shards and the optimizer's state. INTERNAL, naming what is not zero.
absl::Status CheckPaddingIsZero(const fsdp::ShardedParameters& parameters,
                                const std::vector<optim::StateTensor>& state);

}  // namespace sotto::equivalence

#endif  // SOTTO_TESTS_EQUIVALENCE_PADDING_H_
