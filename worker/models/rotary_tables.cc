#include "worker/models/rotary_tables.h"

namespace sotto::models {

std::shared_ptr<const nn::RotaryTable> RotaryTables::For(int64_t tokens) {
  // Only dynamic scaling has other frequencies for longer sequences.
  const bool depends_on_length = positions_.scaling == layout::RotaryScaling::kDynamic;
  const bool fits = table_ != nullptr &&
                    (depends_on_length ? table_->tokens() == tokens : table_->tokens() >= tokens);
  if (!fits) {
    const layout::RotaryFrequencies rotary =
        layout::ComputeRotaryFrequencies(positions_, head_width_, max_length_, tokens);
    table_ = std::make_shared<nn::RotaryTable>(rotary.frequencies, rotary.magnitude, tokens);
  }
  return table_;
}

}  // namespace sotto::models
