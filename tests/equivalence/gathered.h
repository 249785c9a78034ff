// What all ranks hold together, as bytes to compare.
#ifndef SOTTO_TESTS_EQUIVALENCE_GATHERED_H_
#define SOTTO_TESTS_EQUIVALENCE_GATHERED_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/fsdp/sharded_parameters.h"
#include "worker/optim/optimizer.h"

namespace sotto::equivalence {

// Collective: the gathered model, parameter after parameter, without padding.
absl::StatusOr<std::string> GatherParameters(fsdp::ShardedParameters& parameters);

// Collective: the optimizer's state, tensor after tensor, with padding.
absl::StatusOr<std::string> GatherState(fsdp::ShardedParameters& parameters,
                                        const std::vector<optim::StateTensor>& state);

// Of this rank.
int64_t StateBytes(const std::vector<optim::StateTensor>& state);

}  // namespace sotto::equivalence

#endif  // SOTTO_TESTS_EQUIVALENCE_GATHERED_H_
