// Which texts are read together, and by whom. A text is always computed beside the same others, in
// tensors of the same shapes, whatever the batch size, the strategy and the number of ranks: so
// that results are the same bit for bit.
#ifndef SOTTO_WORKER_INFER_TEXT_GROUPS_H_
#define SOTTO_WORKER_INFER_TEXT_GROUPS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "worker/models/inference_batch.h"

namespace sotto::infer {

// Texts of a group. 4: products of 4 rows already read a weight matrix once instead of 4 times,
// and a small batch still gives every one of a few ranks something to do.
inline constexpr int64_t kGroupTexts = 4;

// Texts [first, first + size) of the file.
struct TextGroup {
  int64_t first = 0;
  int64_t size = 0;
};

class TextGroups {
 public:
  // `batch_size`: texts of one pass over all ranks, rounded down to whole groups for every rank, at
  // least one each.
  TextGroups(int64_t texts, int64_t batch_size, int world_size);

  // Passes that it takes until all texts were read; the same for all ranks.
  int64_t num_passes() const { return (groups_ + pass_groups() - 1) / pass_groups(); }

  // The groups that the rank reads in this pass, ascending; maybe none.
  std::vector<TextGroup> OfRank(int64_t pass, int rank) const;

  // Texts that all ranks have read after this pass.
  int64_t DoneAfter(int64_t pass) const;

  // Who reads this text.
  int OwnerOf(int64_t text) const;

 private:
  int64_t pass_groups() const { return rank_groups_ * world_size_; }

  const int64_t texts_;
  const int64_t groups_;
  const int64_t world_size_;
  const int64_t rank_groups_;  // of one rank in one pass
};

// The texts side by side, padded behind their ends with token 0.
models::InferenceBatch PadTexts(absl::Span<const std::vector<int32_t>> texts);

}  // namespace sotto::infer

#endif  // SOTTO_WORKER_INFER_TEXT_GROUPS_H_
