#include "worker/dp/uniform_draws.h"

#include "absl/numeric/int128.h"
#include "absl/types/span.h"

namespace sotto::dp {

uint64_t UniformDraws::Below(uint64_t range) {
  return absl::Uint128High64(absl::uint128(Next()) * range);
}

void UniformDraws::Refill() {
  constexpr size_t kWordsPerBlock = 16;
  kernels::ChaChaWords(key_, stream_, next_block_, absl::MakeSpan(words_));
  next_block_ += words_.size() / kWordsPerBlock;
  next_ = 0;
}

}  // namespace sotto::dp
