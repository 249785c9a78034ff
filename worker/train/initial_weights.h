// Initial weights from a Hugging Face directory.
#ifndef SOTTO_WORKER_TRAIN_INITIAL_WEIGHTS_H_
#define SOTTO_WORKER_TRAIN_INITIAL_WEIGHTS_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "common/checkpoint/hugging_face_weights.h"
#include "worker/fsdp/sharded_parameters.h"

namespace sotto::train {

// Fills this rank's master and frozen shards, reading no more of the files than its slices; what
// the files lack (low-rank adapters) gets initial values of `init_seed`. Errors: of
// HuggingFaceWeights::Read.
absl::Status FillShards(const checkpoint::HuggingFaceWeights& weights, uint64_t init_seed,
                        fsdp::ShardedParameters& parameters);

// Opens the directory, matches its tensors with the parameters' model and fills the shards. Errors:
// of HuggingFaceFiles::Open and HuggingFaceWeights::Match. INVALID_ARGUMENT: the model is tied, but
// the files hold a head that differs from the embedding.
absl::Status LoadHuggingFace(const std::string& directory, uint64_t init_seed,
                             fsdp::ShardedParameters& parameters);

// INVALID_ARGUMENT on every rank alike, naming parameter and element: a weight is infinite or NaN,
// so that every example's gradient would be. Collective. Other errors: the communicator's.
absl::Status CheckFinite(fsdp::ShardedParameters& parameters);

}  // namespace sotto::train

#endif  // SOTTO_WORKER_TRAIN_INITIAL_WEIGHTS_H_
