#include "kernels/reference/chacha_normals.h"

#include <bit>
#include <cmath>
#include <numbers>

namespace sotto::kernels::reference {

namespace {

void QuarterRound(uint32_t& a, uint32_t& b, uint32_t& c, uint32_t& d) {
  a += b, d ^= a, d = std::rotl(d, 16);
  c += d, b ^= c, b = std::rotl(b, 12);
  a += b, d ^= a, d = std::rotl(d, 8);
  c += d, b ^= c, b = std::rotl(b, 7);
}

}  // namespace

std::array<uint32_t, 16> ChaChaBlock(const ChaChaKey& key, uint64_t stream, uint64_t counter) {
  std::array<uint32_t, 16> start = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};
  for (int w = 0; w < 8; ++w) start[4 + w] = key.words[w];
  start[12] = static_cast<uint32_t>(counter);
  start[13] = static_cast<uint32_t>(counter >> 32);
  start[14] = static_cast<uint32_t>(stream);
  start[15] = static_cast<uint32_t>(stream >> 32);
  std::array<uint32_t, 16> x = start;
  for (int round = 0; round < 10; ++round) {
    QuarterRound(x[0], x[4], x[8], x[12]);
    QuarterRound(x[1], x[5], x[9], x[13]);
    QuarterRound(x[2], x[6], x[10], x[14]);
    QuarterRound(x[3], x[7], x[11], x[15]);
    QuarterRound(x[0], x[5], x[10], x[15]);
    QuarterRound(x[1], x[6], x[11], x[12]);
    QuarterRound(x[2], x[7], x[8], x[13]);
    QuarterRound(x[3], x[4], x[9], x[14]);
  }
  for (int w = 0; w < 16; ++w) x[w] += start[w];
  return x;
}

double Normal(const ChaChaKey& key, int64_t position) {
  const uint64_t group = static_cast<uint64_t>(position) / kNormalsPerGroup;
  const uint64_t in_group = static_cast<uint64_t>(position) % kNormalsPerGroup;
  const uint64_t pair = in_group % 256;
  const uint64_t i = pair / 128, w = pair / 8 % 16, j = pair % 8;
  const uint32_t low = ChaChaBlock(key, 0, 48 * group + 16 * i + 2 * j)[w];
  const uint32_t high = ChaChaBlock(key, 0, 48 * group + 16 * i + 2 * j + 1)[w];
  const uint32_t angle = ChaChaBlock(key, 0, 48 * group + 32 + 2 * j + i)[w];
  long double u = (high * 0x1p32L + low) * 0x1p-64L;
  if (high == 0) {
    const std::array<uint32_t, 16> tail = ChaChaBlock(key, 1, 256 * group + pair);
    u = (low + (tail[0] + (tail[1] + 0.5L) * 0x1p-32L) * 0x1p-32L) * 0x1p-64L;
  }
  const long double radius = std::sqrt(-2 * std::log(u));
  // An eighth of a turn back: quadrants are centred on the axes.
  const long double turn = 2 * std::numbers::pi_v<long double> * (angle * 0x1p-32L - 0.125L);
  return static_cast<double>(in_group < 256 ? radius * std::cos(turn) : radius * std::sin(turn));
}

}  // namespace sotto::kernels::reference
