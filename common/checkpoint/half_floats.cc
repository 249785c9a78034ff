#include "common/checkpoint/half_floats.h"

#include <bit>
#include <cmath>

namespace sotto::checkpoint {

float FloatOfBfloat16(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

// 1 sign, 5 exponent and 10 fraction bits; exponent 31: infinity and NaN, 0: subnormal.
float FloatOfFloat16(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16;
  const uint32_t exponent = (bits >> 10) & 0x1f;
  const uint32_t fraction = bits & 0x3ff;
  if (exponent == 0) {
    const float magnitude = std::ldexp(static_cast<float>(fraction), -24);
    return std::bit_cast<float>(std::bit_cast<uint32_t>(magnitude) | sign);
  }
  const uint32_t wide = exponent == 31 ? 255 : exponent + (127 - 15);
  return std::bit_cast<float>(sign | wide << 23 | fraction << 13);
}

uint16_t Bfloat16OfFloat(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  // The upper bit of a NaN's fraction must not round away.
  if (std::isnan(value)) return static_cast<uint16_t>(bits >> 16 | (bits & 0xffff ? 0x40 : 0));
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

uint16_t Float16OfFloat(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = bits >> 16 & 0x8000;
  const uint32_t magnitude = bits & 0x7fffffff;
  if (std::isnan(value)) {
    const uint32_t fraction = magnitude >> 13 & 0x3ff;
    return static_cast<uint16_t>(sign | 0x7c00 | (fraction == 0 ? 0x200 : fraction));
  }
  if (magnitude >= 0x47800000) return static_cast<uint16_t>(sign | 0x7c00);  // 2^16 and beyond
  if (magnitude < 0x38800000) {  // Below 2^-14: multiples of 2^-24.
    const float units = std::ldexp(std::bit_cast<float>(magnitude), 24);
    return static_cast<uint16_t>(sign | static_cast<uint32_t>(std::nearbyint(units)));
  }
  const uint32_t rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
  return static_cast<uint16_t>(sign | (rounded - ((127 - 15) << 23)) >> 13);
}

}  // namespace sotto::checkpoint
