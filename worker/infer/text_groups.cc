#include "worker/infer/text_groups.h"

#include <algorithm>

#include "ATen/ops/zeros.h"

namespace sotto::infer {

TextGroups::TextGroups(int64_t texts, int64_t batch_size, int world_size)
    : texts_(texts),
      groups_((texts + kGroupTexts - 1) / kGroupTexts),
      world_size_(world_size),
      rank_groups_(std::max<int64_t>(1, batch_size / (kGroupTexts * world_size))) {}

std::vector<TextGroup> TextGroups::OfRank(int64_t pass, int rank) const {
  std::vector<TextGroup> groups;
  for (int64_t i = 0; i < rank_groups_; ++i) {
    const int64_t group = pass * pass_groups() + i * world_size_ + rank;
    if (group >= groups_) break;
    const int64_t first = group * kGroupTexts;
    groups.push_back({.first = first, .size = std::min(kGroupTexts, texts_ - first)});
  }
  return groups;
}

int64_t TextGroups::DoneAfter(int64_t pass) const {
  return std::min(texts_, (pass + 1) * pass_groups() * kGroupTexts);
}

int TextGroups::OwnerOf(int64_t text) const {
  return static_cast<int>(text / kGroupTexts % world_size_);
}

models::InferenceBatch PadTexts(absl::Span<const std::vector<int32_t>> texts) {
  size_t longest = 1;
  for (const std::vector<int32_t>& text : texts) longest = std::max(longest, text.size());
  models::InferenceBatch batch;
  batch.tokens_BT =
      at::zeros({static_cast<int64_t>(texts.size()), static_cast<int64_t>(longest)}, at::kLong);
  int64_t* tokens = batch.tokens_BT.data_ptr<int64_t>();
  for (size_t b = 0; b < texts.size(); ++b) {
    std::copy(texts[b].begin(), texts[b].end(), tokens + b * longest);
  }
  return batch;
}

}  // namespace sotto::infer
