// Losses, norms and the clipped gradient sum of a public batch, for a model that others wrote.
#ifndef SOTTO_TOOLS_CHECK_GRADIENTS_CHECK_H_
#define SOTTO_TOOLS_CHECK_GRADIENTS_CHECK_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"

namespace sotto::check {

struct GradientsOptions {
  std::string model;                // Hugging Face directory
  std::string batch;                // file, see gradients_batch.h
  std::string mode;                 // name of a gradient mode
  std::optional<double> clip_norm;  // that every mode but no_dp needs
  std::string out;
  std::string dtype = "fp32";
  std::string strategy = "FULL_SHARD";
  int world_size = 1;            // ranks, as threads of this process
  int shard_group_size = 0;      // HYBRID_SHARD; 0: half of the ranks
  int64_t micro_batch_size = 0;  // examples, at most the batch's; 0: chosen from batch and model
  bool deferred_norms = false;
};

// Runs the batch through the executor as a training step would, without noise and without the
// margin that a private job keeps below its clip norm, and writes `out` (safetensors, fp32):
//   loss [B]           mean over the example's scored tokens, 0 without any
//   grad_norm [B]      over all parameters, before clipping
//   clipped.NAME       sum over the examples of min(1, clip_norm / norm) * gradient, not divided;
//                      NAME, shape and layout are the model file's
// and, as the file's metadata, "mode" and "clip_norm". no_dp clips nothing: clipped.NAME is then
// the plain sum, and the file's clip_norm "none". INVALID_ARGUMENT, NOT_FOUND, naming the file,
// tensor or option and the rule: the input's faults. `out` appears whole or not at all.
absl::Status WriteGradients(const GradientsOptions& options);

// That the sums are unclipped, for whoever asked for no_dp; empty for every other mode.
std::string ClippingRemark(const GradientsOptions& options);

}  // namespace sotto::check

#endif  // SOTTO_TOOLS_CHECK_GRADIENTS_CHECK_H_
