// Tensors of a micro-batch.
#ifndef SOTTO_WORKER_DATA_RECORD_LOADER_H_
#define SOTTO_WORKER_DATA_RECORD_LOADER_H_

#include <cstdint>
#include <vector>

#include "ATen/core/Tensor.h"
#include "common/dataset/token_file.h"
#include "worker/data/micro_batch_plan.h"

namespace sotto::data {

// B = micro_batch_size rows always; rows past the ids are dummies (id -1, no scored token).
struct LoadedMicroBatch {
  at::Tensor tokens_BT;     // int64; padding is token 0
  at::Tensor loss_mask_BT;  // fp32; [b, t] = 1: the prediction of token t counts; column 0 and
                            // padding are 0
  std::vector<int64_t> example_ids;
  at::Tensor labels_B;       // of a file with classes: int64, -1 for dummies
  at::Tensor token_mask_BT;  // of tokens with classes: fp32, 1 for the record's, 0 for padding
  // Of a file of values: fp32, zeros for dummies.
  at::Tensor values_BCHW;
  at::Tensor targets_BK;  // where it has targets
  // What a diffusion draws for each example (example_draws.h): fp32 and int64.
  at::Tensor noise_BCHW;
  at::Tensor time_steps_B;
};

// Thread-safe.
class RecordLoader {
 public:
  // `file` outlives the loader and was validated.
  RecordLoader(const dataset::TokenFile& file, int32_t micro_batch_size)
      : file_(file), micro_batch_size_(micro_batch_size) {}

  // Records longer than the padded length are truncated.
  LoadedMicroBatch Load(const PlannedMicroBatch& micro_batch) const;

  // Tokens of each record, for PlanMicroBatches.
  std::vector<int64_t> Lengths(absl::Span<const int64_t> ids) const;

 private:
  void LoadTokens(int64_t id, size_t row, LoadedMicroBatch& loaded) const;
  void LoadValues(int64_t id, size_t row, LoadedMicroBatch& loaded) const;

  const dataset::TokenFile& file_;
  int32_t micro_batch_size_;
};

}  // namespace sotto::data

#endif  // SOTTO_WORKER_DATA_RECORD_LOADER_H_
