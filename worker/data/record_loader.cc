#include "worker/data/record_loader.h"

#include <algorithm>

#include "ATen/ops/full.h"
#include "ATen/ops/zeros.h"
#include "common/base/log.h"

namespace sotto::data {

LoadedMicroBatch RecordLoader::Load(const PlannedMicroBatch& micro_batch) const {
  SOTTO_CHECK(static_cast<int64_t>(micro_batch.ids.size()) <= micro_batch_size_);
  const int64_t padded_length = micro_batch.padded_length;
  const dataset::TokenFileHeader& header = file_.header();
  LoadedMicroBatch loaded;
  loaded.tokens_BT = at::zeros({micro_batch_size_, padded_length}, at::kLong);
  loaded.loss_mask_BT = at::zeros({micro_batch_size_, padded_length}, at::kFloat);
  loaded.example_ids.assign(micro_batch_size_, -1);
  if (header.classes > 0) loaded.labels_B = at::full({micro_batch_size_}, -1, at::kLong);
  if (header.has_values()) {
    loaded.values_BCHW =
        at::zeros({micro_batch_size_, header.shape[0], header.shape[1], header.shape[2]});
    if (header.targets > 0) loaded.targets_BK = at::zeros({micro_batch_size_, header.targets});
  } else if (header.classes > 0) {
    loaded.token_mask_BT = at::zeros({micro_batch_size_, padded_length}, at::kFloat);
  }
  for (size_t row = 0; row < micro_batch.ids.size(); ++row) {
    const int64_t id = micro_batch.ids[row];
    loaded.example_ids[row] = id;
    if (header.classes > 0) loaded.labels_B.data_ptr<int64_t>()[row] = file_.Label(id);
    if (header.has_values()) {
      LoadValues(id, row, loaded);
    } else {
      LoadTokens(id, row, loaded);
    }
  }
  return loaded;
}

void RecordLoader::LoadTokens(int64_t id, size_t row, LoadedMicroBatch& loaded) const {
  const int64_t padded_length = loaded.tokens_BT.size(1);
  std::vector<int64_t> tokens(file_.Length(id));
  std::vector<float> scored(tokens.size());
  file_.Read(id, absl::MakeSpan(tokens), absl::MakeSpan(scored));
  const int64_t kept = std::min<int64_t>(tokens.size(), padded_length);
  float* mask = loaded.loss_mask_BT.data_ptr<float>() + row * padded_length;
  std::copy_n(tokens.begin(), kept, loaded.tokens_BT.data_ptr<int64_t>() + row * padded_length);
  std::copy_n(scored.begin(), kept, mask);
  mask[0] = 0;  // nothing precedes the first token
  if (!loaded.token_mask_BT.defined()) return;
  std::fill_n(loaded.token_mask_BT.data_ptr<float>() + row * padded_length, kept, 1.0f);
}

void RecordLoader::LoadValues(int64_t id, size_t row, LoadedMicroBatch& loaded) const {
  const int64_t values = file_.header().num_values();
  file_.ReadValues(id, absl::MakeSpan(loaded.values_BCHW.data_ptr<float>() + row * values,
                                      static_cast<size_t>(values)));
  if (!loaded.targets_BK.defined()) return;
  const int64_t targets = file_.header().targets;
  file_.ReadTargets(id, absl::MakeSpan(loaded.targets_BK.data_ptr<float>() + row * targets,
                                       static_cast<size_t>(targets)));
}

std::vector<int64_t> RecordLoader::Lengths(absl::Span<const int64_t> ids) const {
  std::vector<int64_t> lengths;
  lengths.reserve(ids.size());
  for (const int64_t id : ids) lengths.push_back(file_.Length(id));
  return lengths;
}

}  // namespace sotto::data
