// What the modes of a comparison have in common, over all of them.
#ifndef SOTTO_TOOLS_CHECK_MODE_CONSISTENCY_H_
#define SOTTO_TOOLS_CHECK_MODE_CONSISTENCY_H_

#include <optional>

#include "tools/check/comparison.h"
#include "tools/check/mode_comparison.h"

namespace sotto::check {

// Over the modes that compute the same as the reference or, without one, over those that clip.
struct Consistency {
  Spread final_loss;
  Spread gradient_norm;
  double loss_range = 0;           // largest less smallest
  double gradient_norm_range = 0;  // likewise
};

// Whether the reference mode ran.
bool HasReference(const ModeComparison& comparison);

// Nothing where there are no such modes.
std::optional<Consistency> ConsistencyOf(const ModeComparison& comparison);

}  // namespace sotto::check

#endif  // SOTTO_TOOLS_CHECK_MODE_CONSISTENCY_H_
