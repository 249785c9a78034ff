// Logits of a public batch, for a model that others wrote; and the model written back.
#ifndef SOTTO_TOOLS_CHECK_LOGITS_CHECK_H_
#define SOTTO_TOOLS_CHECK_LOGITS_CHECK_H_

#include <string>

#include "absl/status/status.h"

namespace sotto::check {

struct LogitsOptions {
  std::string model;  // Hugging Face directory
  std::string batch;  // safetensors with tokens, see gradients_batch.h; loss_mask may be missing
  std::string out;
  std::string save_model;  // directory to write; empty: none
  std::string strategy = "FULL_SHARD";
  int world_size = 1;        // ranks, as threads of this process
  int shard_group_size = 0;  // HYBRID_SHARD; 0: half of the ranks
};

// Loads the model in shards, reads the batch and writes `out` (safetensors): logits [B, T, V],
// float32. With save_model the shards are gathered again and written as a Hugging Face directory
// with the names, shapes, dtypes and bits of the one that was read. INVALID_ARGUMENT, NOT_FOUND,
// ALREADY_EXISTS, naming the file, tensor or option and the rule: the input's faults. Both appear
// whole or not at all.
absl::Status WriteLogits(const LogitsOptions& options);

}  // namespace sotto::check

#endif  // SOTTO_TOOLS_CHECK_LOGITS_CHECK_H_
