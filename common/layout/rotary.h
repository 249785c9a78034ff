// Rotary positions (Su et al. 2021) with the scalings that Hugging Face's configurations name.
#ifndef SOTTO_COMMON_LAYOUT_ROTARY_H_
#define SOTTO_COMMON_LAYOUT_ROTARY_H_

#include <cstdint>
#include <vector>

namespace sotto::layout {

enum class RotaryScaling {
  kNone,
  kLinear,   // frequencies divided by the factor
  kDynamic,  // the base grows with sequences beyond max_length ("NTK-aware")
  kYarn,     // Peng et al. 2023
  kLlama3,   // Llama 3.1: low frequencies divided by the factor, smoothly
};

struct RotaryPositions {
  double base = 10000;  // theta
  RotaryScaling scaling = RotaryScaling::kNone;
  double factor = 1;
  int64_t original_max_length = 0;  // kYarn, kLlama3; 0: the model's max_length
  double low_frequency_factor = 1;  // kLlama3
  double high_frequency_factor = 4;
  double beta_fast = 32;  // kYarn
  double beta_slow = 1;
  double attention_factor = 0;  // kYarn; 0: from the factor and the two scales below
  double attention_scale = 0;   // "mscale"; 0: none
  double attention_scale_all_dims = 0;
  bool truncate = true;  // kYarn: the ramp's ends are whole dimensions

  friend bool operator==(const RotaryPositions&, const RotaryPositions&) = default;
};

// What attention needs: position p turns the pair (j, j + head_width / 2) by the angle
// p * frequencies[j]; cosine and sine are multiplied by `magnitude`.
struct RotaryFrequencies {
  std::vector<float> frequencies;  // [head_width / 2]
  float magnitude = 1;

  friend bool operator==(const RotaryFrequencies&, const RotaryFrequencies&) = default;
};

// For sequences of `length` tokens (only kDynamic depends on it) in a model of `max_length`. In
// float32, operation by operation as Hugging Face's code has it.
RotaryFrequencies ComputeRotaryFrequencies(const RotaryPositions& positions, int64_t head_width,
                                           int64_t max_length, int64_t length);

}  // namespace sotto::layout

#endif  // SOTTO_COMMON_LAYOUT_ROTARY_H_
