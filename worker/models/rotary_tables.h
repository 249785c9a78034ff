#ifndef SOTTO_WORKER_MODELS_ROTARY_TABLES_H_
#define SOTTO_WORKER_MODELS_ROTARY_TABLES_H_

#include <cstdint>
#include <memory>

#include "common/layout/rotary.h"
#include "worker/nn/rotary.h"

namespace sotto::models {

// The rotary table of a model, shared by its blocks and computed when a length needs it. Externally
// synchronised.
class RotaryTables {
 public:
  RotaryTables(const layout::RotaryPositions& positions, int64_t head_width, int64_t max_length)
      : positions_(positions), head_width_(head_width), max_length_(max_length) {}

  // For sequences of `tokens` tokens.
  std::shared_ptr<const nn::RotaryTable> For(int64_t tokens);

 private:
  const layout::RotaryPositions positions_;
  const int64_t head_width_;
  const int64_t max_length_;
  std::shared_ptr<const nn::RotaryTable> table_;
};

}  // namespace sotto::models

#endif  // SOTTO_WORKER_MODELS_ROTARY_TABLES_H_
