// Which token comes next.
#ifndef SOTTO_WORKER_INFER_TOKEN_CHOICE_H_
#define SOTTO_WORKER_INFER_TOKEN_CHOICE_H_

#include <cstdint>

#include "absl/types/span.h"

namespace sotto::infer {

struct ChoiceOptions {
  double temperature = 0;  // 0: the likeliest token
  int64_t top_k = 0;       // only so many of the likeliest; 0: all
  double top_p = 1;        // only the likeliest whose probabilities add up to this, after top_k
};

// A number in [0, 1) that is a function of its arguments: the draw of the token at `position` of
// text `text`. Public: it protects nothing.
double DrawOf(uint64_t seed, int64_t text, int64_t position);

// The token that `draw` in [0, 1) falls on: probabilities softmax(logits / temperature) of the
// tokens that top_k and then top_p leave (the likeliest always stays), laid side by side from the
// likeliest down; of equally likely ones the smaller comes first. Greedy where the temperature is
// 0.
int64_t ChooseToken(absl::Span<const float> logits, const ChoiceOptions& options, double draw);

}  // namespace sotto::infer

#endif  // SOTTO_WORKER_INFER_TOKEN_CHOICE_H_
