// The batch file of `sotto-check gradients` and `sotto-check logits`.
#ifndef SOTTO_TOOLS_CHECK_GRADIENTS_BATCH_H_
#define SOTTO_TOOLS_CHECK_GRADIENTS_BATCH_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/models/micro_batch.h"

namespace sotto::check {

// Examples of equal length.
struct PublicBatch {
  int64_t examples = 0;         // B
  int64_t tokens = 0;           // T
  std::vector<int64_t> ids;     // [B, T]
  std::vector<uint8_t> scored;  // [B, T - 1]: whether predicting token t + 1 counts

  // Examples [begin, begin + count) as the models take them; beyond the last: dummies.
  models::MicroBatch Slice(int64_t begin, int64_t count) const;
};

// A safetensors file with `tokens` (int64 [B, T], T >= 1) and `loss_mask` (uint8 or bool
// [B, T - 1], which may be missing where it is not needed: then nothing is scored).
// INVALID_ARGUMENT, naming file, tensor and rule: anything else, and a prepared
// dataset of this program's own format: its records may be private, and what the command writes
// tells of single examples. NOT_FOUND: no such file.
absl::StatusOr<PublicBatch> ReadPublicBatch(const std::string& path, bool needs_loss_mask = true);

// INVALID_ARGUMENT: `out` cannot be written, or writing it would replace the batch, the
// configuration or weights of the model's directory, or a prepared dataset.
absl::Status CheckOut(const std::string& out, const std::string& batch, const std::string& model);

// INVALID_ARGUMENT: a token outside of the vocabulary.
absl::Status CheckTokens(const PublicBatch& batch, int64_t vocabulary_size);

}  // namespace sotto::check

#endif  // SOTTO_TOOLS_CHECK_GRADIENTS_BATCH_H_
