// 16-bit floating-point formats, as files hold them.
#ifndef SOTTO_COMMON_CHECKPOINT_HALF_FLOATS_H_
#define SOTTO_COMMON_CHECKPOINT_HALF_FLOATS_H_

#include <cstdint>

namespace sotto::checkpoint {

// Exact: every value of either format is a float.
float FloatOfBfloat16(uint16_t bits);
float FloatOfFloat16(uint16_t bits);

// The nearest value, of two equally near ones the even; beyond the largest: infinity. NaN stays
// NaN. What FloatOf... gave comes back bit for bit.
uint16_t Bfloat16OfFloat(float value);
uint16_t Float16OfFloat(float value);

}  // namespace sotto::checkpoint

#endif  // SOTTO_COMMON_CHECKPOINT_HALF_FLOATS_H_
