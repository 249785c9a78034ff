// Gradient modes against one another: norms, clipped sums and speed on one micro-batch.
#ifndef SOTTO_TOOLS_CHECK_MODE_CHECK_H_
#define SOTTO_TOOLS_CHECK_MODE_CHECK_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tools/check/model_shape.h"

namespace sotto::check {

struct ModeRow {
  std::string mode;
  // max over examples of |n - n'| / (n' + max n' / 100); 0 for modes without norms.
  double norm_error = 0;
  // max over tensors of ||S_t - S_t'|| / (||S_t'|| + ||S'|| / 10).
  double sum_error = 0;
  double tokens_per_second = 0;  // best of a few micro-batches, forward and backward

  bool Agrees() const { return norm_error <= 1e-5 && sum_error <= 1e-5; }
};

// Every mode of common/layout/gradient_mode.h, compared with a loop over the examples: each one's
// whole gradient by itself, its norm, its factor and the sum in fp64. Half of the examples are
// clipped. Random parameters and tokens, one thread. INVALID_ARGUMENT: a shape that is no model,
// fewer than 2 examples.
absl::StatusOr<std::vector<ModeRow>> CompareModes(const ModelShape& shape, int examples);

}  // namespace sotto::check

#endif  // SOTTO_TOOLS_CHECK_MODE_CHECK_H_
