#include "worker/data/record_loader.h"

#include <algorithm>

#include "ATen/ops/full.h"
#include "ATen/ops/zeros.h"
#include "common/base/log.h"

namespace sotto::data {

LoadedMicroBatch RecordLoader::Load(const PlannedMicroBatch& micro_batch) const {
  SOTTO_CHECK(static_cast<int64_t>(micro_batch.ids.size()) <= micro_batch_size_);
  const int64_t padded_length = micro_batch.padded_length;
  LoadedMicroBatch loaded;
  loaded.tokens_BT = at::zeros({micro_batch_size_, padded_length}, at::kLong);
  loaded.loss_mask_BT = at::zeros({micro_batch_size_, padded_length}, at::kFloat);
  loaded.example_ids.assign(micro_batch_size_, -1);
  const bool labelled = file_.header().classes > 0;
  if (labelled) {
    loaded.labels_B = at::full({micro_batch_size_}, -1, at::kLong);
    loaded.token_mask_BT = at::zeros({micro_batch_size_, padded_length}, at::kFloat);
  }
  int64_t* tokens = loaded.tokens_BT.data_ptr<int64_t>();
  float* mask = loaded.loss_mask_BT.data_ptr<float>();
  std::vector<int64_t> record_tokens;
  std::vector<float> record_scored;
  for (size_t row = 0; row < micro_batch.ids.size(); ++row) {
    const int64_t id = micro_batch.ids[row];
    record_tokens.resize(file_.Length(id));
    record_scored.resize(record_tokens.size());
    file_.Read(id, absl::MakeSpan(record_tokens), absl::MakeSpan(record_scored));
    const int64_t kept = std::min<int64_t>(record_tokens.size(), padded_length);
    std::copy_n(record_tokens.begin(), kept, tokens + row * padded_length);
    std::copy_n(record_scored.begin(), kept, mask + row * padded_length);
    mask[row * padded_length] = 0;  // nothing precedes the first token
    loaded.example_ids[row] = id;
    if (!labelled) continue;
    loaded.labels_B.data_ptr<int64_t>()[row] = file_.Label(id);
    std::fill_n(loaded.token_mask_BT.data_ptr<float>() + row * padded_length, kept, 1.0f);
  }
  return loaded;
}

std::vector<int64_t> RecordLoader::Lengths(absl::Span<const int64_t> ids) const {
  std::vector<int64_t> lengths;
  lengths.reserve(ids.size());
  for (const int64_t id : ids) lengths.push_back(file_.Length(id));
  return lengths;
}

}  // namespace sotto::data
