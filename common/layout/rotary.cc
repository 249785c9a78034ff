#include "common/layout/rotary.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace sotto::layout {
namespace {

// 1 / base^(2j / width).
std::vector<float> InverseFrequencies(double base, int64_t head_width) {
  std::vector<float> result(head_width / 2);
  for (size_t j = 0; j < result.size(); ++j) {
    const float exponent = static_cast<float>(2 * j) / static_cast<float>(head_width);
    result[j] = 1.0f / std::pow(static_cast<float>(base), exponent);
  }
  return result;
}

double DynamicBase(const RotaryPositions& positions, int64_t head_width, int64_t max_length,
                   int64_t length) {
  const double stretch = positions.factor * static_cast<double>(std::max(length, max_length)) /
                             static_cast<double>(max_length) -
                         (positions.factor - 1);
  const double width = static_cast<double>(head_width);
  return positions.base * std::pow(stretch, width / (width - 2));
}

void ScaleAsLlama3(const RotaryPositions& positions, double old_length,
                   std::vector<float>& frequencies) {
  const double low_wavelength = old_length / positions.low_frequency_factor;
  const double high_wavelength = old_length / positions.high_frequency_factor;
  for (float& frequency : frequencies) {
    const float wavelength = static_cast<float>(2 * std::numbers::pi) / frequency;
    const float scaled = frequency / static_cast<float>(positions.factor);
    if (wavelength < high_wavelength) continue;
    if (wavelength > low_wavelength) {
      frequency = scaled;
      continue;
    }
    const float smooth =
        (static_cast<float>(old_length) / wavelength -
         static_cast<float>(positions.low_frequency_factor)) /
        static_cast<float>(positions.high_frequency_factor - positions.low_frequency_factor);
    frequency = (1 - smooth) * scaled + smooth * frequency;
  }
}

// The pair of dimensions that turns `rotations` times over the original length.
double YarnDimension(double rotations, double head_width, double base, double old_length) {
  return head_width * std::log(old_length / (rotations * 2 * std::numbers::pi)) /
         (2 * std::log(base));
}

void ScaleAsYarn(const RotaryPositions& positions, int64_t head_width, double old_length,
                 std::vector<float>& frequencies) {
  const double width = static_cast<double>(head_width);
  double low = YarnDimension(positions.beta_fast, width, positions.base, old_length);
  double high = YarnDimension(positions.beta_slow, width, positions.base, old_length);
  if (positions.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, width - 1);
  if (low == high) high += 0.001;  // As the reference: no division by zero.
  for (size_t j = 0; j < frequencies.size(); ++j) {
    const float ramp = std::clamp(
        (static_cast<float>(j) - static_cast<float>(low)) / static_cast<float>(high - low), 0.0f,
        1.0f);
    const float extrapolated = 1 - ramp;
    frequencies[j] = frequencies[j] / static_cast<float>(positions.factor) * (1 - extrapolated) +
                     frequencies[j] * extrapolated;
  }
}

double YarnScale(double factor, double scale) {
  return factor <= 1 ? 1.0 : 0.1 * scale * std::log(factor) + 1;
}

double YarnMagnitude(const RotaryPositions& positions, double factor) {
  if (positions.attention_factor != 0) return positions.attention_factor;
  if (positions.attention_scale != 0 && positions.attention_scale_all_dims != 0) {
    return YarnScale(factor, positions.attention_scale) /
           YarnScale(factor, positions.attention_scale_all_dims);
  }
  return YarnScale(factor, 1);
}

}  // namespace

RotaryFrequencies ComputeRotaryFrequencies(const RotaryPositions& positions, int64_t head_width,
                                           int64_t max_length, int64_t length) {
  const double old_length = static_cast<double>(
      positions.original_max_length > 0 ? positions.original_max_length : max_length);
  RotaryFrequencies result{.frequencies = InverseFrequencies(positions.base, head_width)};
  switch (positions.scaling) {
    case RotaryScaling::kNone:
      break;
    case RotaryScaling::kLinear:
      for (float& frequency : result.frequencies) {
        frequency /= static_cast<float>(positions.factor);
      }
      break;
    case RotaryScaling::kDynamic:
      result.frequencies =
          InverseFrequencies(DynamicBase(positions, head_width, max_length, length), head_width);
      break;
    case RotaryScaling::kYarn:
      ScaleAsYarn(positions, head_width, old_length, result.frequencies);
      result.magnitude = static_cast<float>(YarnMagnitude(positions, positions.factor));
      break;
    case RotaryScaling::kLlama3:
      ScaleAsLlama3(positions, old_length, result.frequencies);
      break;
  }
  return result;
}

}  // namespace sotto::layout
