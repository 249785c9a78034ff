#include "worker/optim/sharded_update.h"

#include "ATen/Parallel.h"
#include "ATen/ops/empty_like.h"
#include "absl/strings/str_cat.h"
#include "common/base/huge_pages.h"

namespace sotto::optim {

namespace {

// Elements of one task: some tens of microseconds, above the cost of handing it to a thread.
constexpr int64_t kElementsPerTask = 1 << 15;

}  // namespace

absl::Status CheckMatches(const dp::NoisedGradient& gradient,
                          const std::vector<ParameterShard>& shards) {
  if (gradient.sums().size() != shards.size()) {
    return absl::InvalidArgumentError(absl::StrCat("the release must have ", shards.size(),
                                                   " shards, but has ", gradient.sums().size()));
  }
  for (size_t i = 0; i < shards.size(); ++i) {
    const int64_t released = gradient.sums()[i].values.numel();
    if (released == shards[i].values.numel()) continue;
    return absl::InvalidArgumentError(absl::StrCat("shard ", i, " must have ",
                                                   shards[i].values.numel(),
                                                   " elements, but the release has ", released));
  }
  return absl::OkStatus();
}

void ForEachRange(const ParameterShard& shard,
                  absl::FunctionRef<void(int64_t, int64_t, bool)> update) {
  auto split = [&](int64_t begin, int64_t end, bool is_decayed) {
    at::parallel_for(begin, end, kElementsPerTask,
                     [&](int64_t from, int64_t to) { update(from, to, is_decayed); });
  };
  int64_t done = 0;
  for (const dp::Interval& decayed : shard.decayed) {
    split(done, decayed.begin, false);
    split(decayed.begin, decayed.end, true);
    done = decayed.end;
  }
  split(done, shard.values.numel(), false);
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
