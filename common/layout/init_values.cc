#include "common/layout/init_values.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <utility>

namespace sotto::layout {
namespace {

// Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
std::array<uint32_t, 4> Philox(uint64_t seed, std::array<uint32_t, 4> counter) {
  uint32_t key0 = static_cast<uint32_t>(seed);
  uint32_t key1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = uint64_t{0xD2511F53} * counter[0];
    const uint64_t product1 = uint64_t{0xCD9E8D57} * counter[2];
    counter = {
        static_cast<uint32_t>(product1 >> 32) ^ counter[1] ^ key0, static_cast<uint32_t>(product1),
        static_cast<uint32_t>(product0 >> 32) ^ counter[3] ^ key1, static_cast<uint32_t>(product0)};
    key0 += 0x9E3779B9;
    key1 += 0xBB67AE85;
  }
  return counter;
}

// (0, 1], 53 bits.
double Uniform(uint32_t high, uint32_t low) {
  const uint64_t bits = (uint64_t{high} << 32 | low) >> 11;
  return (static_cast<double>(bits) + 1.0) * 0x1p-53;
}

// Elements 2 * pair and 2 * pair + 1 (Box-Muller).
std::pair<double, double> NormalPair(uint64_t seed, int64_t parameter_index, int64_t pair) {
  const uint64_t position = static_cast<uint64_t>(pair);
  const std::array<uint32_t, 4> bits =
      Philox(seed, {static_cast<uint32_t>(position), static_cast<uint32_t>(position >> 32),
                    static_cast<uint32_t>(parameter_index), 0});
  const double radius = std::sqrt(-2.0 * std::log(Uniform(bits[0], bits[1])));
  const double angle = 2.0 * std::numbers::pi * Uniform(bits[2], bits[3]);
  return {radius * std::cos(angle), radius * std::sin(angle)};
}

}  // namespace

void FillInitialValues(const ParameterDescription& parameter, uint64_t seed,
                       int64_t parameter_index, int64_t first_element, absl::Span<float> values) {
  if (parameter.init != Init::kNormal) {
    std::fill(values.begin(), values.end(), parameter.init == Init::kOnes ? 1.0f : 0.0f);
    return;
  }
  for (int64_t i = 0; i < static_cast<int64_t>(values.size());) {
    const int64_t element = first_element + i;
    const auto [even, odd] = NormalPair(seed, parameter_index, element / 2);
    if (element % 2 == 0) {
      values[i++] = static_cast<float>(parameter.init_stddev * even);
      if (i == static_cast<int64_t>(values.size())) break;
    }
    values[i++] = static_cast<float>(parameter.init_stddev * odd);
  }
}

}  // namespace sotto::layout
