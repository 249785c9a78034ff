#include "worker/optim/sharded_update.h"

#include <algorithm>

#include "ATen/ops/empty_like.h"
#include "absl/strings/str_cat.h"
#include "common/base/huge_pages.h"

namespace sotto::optim {

absl::Status CheckMatches(const dp::NoisedGradient& gradient,
                          const std::vector<ParameterShard>& shards) {
  if (gradient.num_shards() != shards.size()) {
    return absl::InvalidArgumentError(absl::StrCat("the release must have ", shards.size(),
                                                   " shards, but has ", gradient.num_shards()));
  }
  for (size_t i = 0; i < shards.size(); ++i) {
    const int64_t released = gradient.shard_elements(i);
    if (released == shards[i].values.numel()) continue;
    return absl::InvalidArgumentError(absl::StrCat("shard ", i, " must have ",
                                                   shards[i].values.numel(),
                                                   " elements, but the release has ", released));
  }
  return absl::OkStatus();
}

void ForEachRange(const dp::NoisedGradient& gradient, const std::vector<ParameterShard>& shards,
                  absl::FunctionRef<void(const UpdateRange&)> update) {
  gradient.ForEachPiece([&](const dp::NoisedGradient::Piece& piece) {
    const int64_t end = piece.begin + static_cast<int64_t>(piece.sums.size());
    int64_t done = piece.begin;
    const auto update_to = [&](int64_t next, bool is_decayed) {
      if (next <= done) return;
      const absl::Span<const float> sums = piece.sums.subspan(done - piece.begin, next - done);
      update({.unit = piece.shard, .begin = done, .sums = sums, .is_decayed = is_decayed});
      done = next;
    };
    for (const dp::Interval& decayed : shards[piece.shard].decayed) {
      update_to(std::min(decayed.begin, end), false);
      update_to(std::min(decayed.end, end), true);
    }
    update_to(end, false);
  });
}

std::vector<at::Tensor> ZerosLike(const std::vector<ParameterShard>& shards) {
  std::vector<at::Tensor> zeros;
  for (const ParameterShard& shard : shards) {
    const at::Tensor& state = zeros.emplace_back(at::empty_like(shard.values));
    PreferHugePages(state.data_ptr(), static_cast<int64_t>(state.nbytes()));
    state.zero_();
  }
  return zeros;
}

}  // namespace sotto::optim
