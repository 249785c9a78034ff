#include "kernels/chacha_normals.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <numbers>

// Eight blocks (or groups) at a time, one in each lane: sixteen spill AVX2's registers and run at
// two thirds of the speed. Compiled three times, for AVX-512 (1.7 times AVX2's speed), AVX2 and any
// x86-64; the bits are the same, since all do the same IEEE operations. ThreadSanitizer and old
// loaders cannot resolve clones: the plain one serves there.
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
#define SOTTO_LANES_TARGETS __attribute__((target_clones("arch=x86-64-v4", "avx2", "default")))
#else
#define SOTTO_LANES_TARGETS
#endif
#define SOTTO_LANES_INLINE __attribute__((always_inline)) inline

namespace sotto::kernels {

namespace {

constexpr int kLanes = 8;
constexpr uint64_t kMainStream = 0;
constexpr uint64_t kTailStream = 1;

using Words = uint32_t __attribute__((vector_size(4 * kLanes)));

SOTTO_LANES_INLINE void QuarterRound(Words& a, Words& b, Words& c, Words& d) {
  a += b, d ^= a, d = (d << 16) | (d >> 16);
  c += d, b ^= c, b = (b << 12) | (b >> 20);
  a += b, d ^= a, d = (d << 8) | (d >> 24);
  c += d, b ^= c, b = (b << 7) | (b >> 25);
}

// Blocks counters[0..7] of a stream: out[w][lane].
SOTTO_LANES_INLINE void EightBlocks(const ChaChaKey& key, uint64_t stream,
                                    const uint64_t (&counters)[kLanes], Words (&out)[16]) {
  constexpr uint32_t kConstants[4] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};
  Words start[16] = {};
  for (int w = 0; w < 4; ++w) start[w] = Words{} + kConstants[w];
  for (int w = 0; w < 8; ++w) start[4 + w] = Words{} + key.words[w];
  for (int lane = 0; lane < kLanes; ++lane) {
    start[12][lane] = static_cast<uint32_t>(counters[lane]);
    start[13][lane] = static_cast<uint32_t>(counters[lane] >> 32);
  }
  start[14] = Words{} + static_cast<uint32_t>(stream);
  start[15] = Words{} + static_cast<uint32_t>(stream >> 32);

  for (int w = 0; w < 16; ++w) out[w] = start[w];
  for (int round = 0; round < 10; ++round) {
    for (int column = 0; column < 4; ++column) {
      QuarterRound(out[column], out[4 + column], out[8 + column], out[12 + column]);
    }
    for (int column = 0; column < 4; ++column) {
      QuarterRound(out[column], out[4 + (column + 1) % 4], out[8 + (column + 2) % 4],
                   out[12 + (column + 3) % 4]);
    }
  }
  for (int w = 0; w < 16; ++w) out[w] += start[w];
}

// Pairs of normals made at a time: 16 of each of eight groups; pair 8 w + lane is pair w of group
// `lane`.
constexpr int kPairs = 16 * kLanes;

// Exact: the bits become the low end of 2^52's mantissa.
SOTTO_LANES_INLINE double ToReal(uint64_t below_2_52) {
  return std::bit_cast<double>(below_2_52 | 0x4330000000000000) - 0x1p52;
}

// -2 log(u) for u in (0, 1]: u = m 2^e with m in [sqrt(1/2), sqrt(2)), log m = 2 atanh((m - 1) / (m
// + 1)).
SOTTO_LANES_INLINE double MinusTwoLog(double u) {
  const uint64_t bits = std::bit_cast<uint64_t>(u);
  const double mantissa = std::bit_cast<double>((bits & 0x000fffffffffffff) | 0x3ff0000000000000);
  const bool is_high = mantissa > std::numbers::sqrt2;
  const double m = is_high ? mantissa * 0.5 : mantissa;
  const double exponent = ToReal(bits >> 52) - (is_high ? 1022 : 1023);
  const double s = (m - 1) / (m + 1);
  const double t = s * s;  // below 0.0295: the next term is below 1e-17
  double sum = 1.0 / 21;
  for (int k = 19; k >= 1; k -= 2) sum = sum * t + 1.0 / k;
  return -2 * (exponent * std::numbers::ln2 + 2 * s * sum);
}

// Taylor sums for |x| <= pi / 4, t = x^2.
SOTTO_LANES_INLINE double Sine(double x, double t) {
  constexpr double kTerms[] = {1 / 6227020800.0, -1 / 39916800.0, 1 / 362880.0, -1 / 5040.0,
                               1 / 120.0,        -1 / 6.0,        1.0};
  double sum = -1 / 1307674368000.0;
  for (double term : kTerms) sum = sum * t + term;
  return sum * x;
}
SOTTO_LANES_INLINE double Cosine(double t) {
  constexpr double kTerms[] = {-1 / 87178291200.0, 1 / 479001600.0, -1 / 3628800.0, 1 / 40320.0,
                               -1 / 720.0,         1 / 24.0,        -0.5,           1.0};
  double sum = 1 / 20922789888000.0;
  for (double term : kTerms) sum = sum * t + term;
  return sum;
}

// The normals of groups first_group .. first_group + 7: out[32 lane + j]. Plain loops over the
// pairs: the compiler makes vectors of them.
SOTTO_LANES_TARGETS
void EightGroups(const ChaChaKey& key, uint64_t first_group, double* out) {
  alignas(64) uint32_t words[3][kPairs];
  for (int kind = 0; kind < 3; ++kind) {
    uint64_t counters[kLanes];
    for (int lane = 0; lane < kLanes; ++lane) counters[lane] = 3 * (first_group + lane) + kind;
    Words blocks[16];
    EightBlocks(key, kMainStream, counters, blocks);
    std::memcpy(words[kind], blocks, sizeof(blocks));
  }
  const uint32_t* low = words[0];
  const uint32_t* high = words[1];
  const uint32_t* angle = words[2];

  alignas(64) double radius[kPairs];
  uint32_t tails = 0;
  for (int p = 0; p < kPairs; ++p) {
    radius[p] = (ToReal(high[p]) + (ToReal(low[p]) + 0.5) * 0x1p-32) * 0x1p-32;
    tails |= high[p] == 0;
  }
  for (int p = 0; tails != 0 && p < kPairs; ++p) {
    if (high[p] != 0) continue;
    radius[p] = TailUniform(key, 16 * (first_group + p % kLanes) + p / kLanes, low[p]);
  }
  for (int p = 0; p < kPairs; ++p) radius[p] = std::sqrt(MinusTwoLog(radius[p]));

  // The angle's top bits are the quadrant, the rest an offset from its middle.
  alignas(64) double first[kPairs];
  alignas(64) double second[kPairs];
  for (int p = 0; p < kPairs; ++p) {
    const double x = (ToReal(angle[p] & 0x3fffffff) + 0.5 - 0x1p29) * (std::numbers::pi / 0x1p31);
    const double sine = Sine(x, x * x);
    const double cosine = Cosine(x * x);
    const uint64_t quadrant = angle[p] >> 30;
    const bool is_odd = (quadrant & 1) != 0;
    const uint64_t cosine_sign = ((quadrant + 1) & 2) << 62;
    const uint64_t sine_sign = (quadrant & 2) << 62;
    const double turned_cosine = radius[p] * (is_odd ? sine : cosine);
    const double turned_sine = radius[p] * (is_odd ? cosine : sine);
    first[p] = std::bit_cast<double>(std::bit_cast<uint64_t>(turned_cosine) ^ cosine_sign);
    second[p] = std::bit_cast<double>(std::bit_cast<uint64_t>(turned_sine) ^ sine_sign);
  }
  for (int lane = 0; lane < kLanes; ++lane) {
    for (int w = 0; w < 16; ++w) {
      out[kNormalsPerGroup * lane + 2 * w] = first[kLanes * w + lane];
      out[kNormalsPerGroup * lane + 2 * w + 1] = second[kLanes * w + lane];
    }
  }
}

SOTTO_LANES_TARGETS
void EightBlocksInOrder(const ChaChaKey& key, uint64_t stream, uint64_t first_block,
                        uint32_t* out) {
  uint64_t counters[kLanes];
  for (int lane = 0; lane < kLanes; ++lane) counters[lane] = first_block + lane;
  Words words[16];
  EightBlocks(key, stream, counters, words);
  for (int lane = 0; lane < kLanes; ++lane) {
    for (int w = 0; w < 16; ++w) out[16 * lane + w] = words[w][lane];
  }
}

SOTTO_LANES_TARGETS
void AddOnGrid(const double* normals, double stddev, double grid, int64_t count, float* values) {
  const double inverse = 1 / grid;  // a power of two: exact
  for (int64_t i = 0; i < count; ++i) {
    const double noised = values[i] + stddev * normals[i];
    // Adding 1.5 * 2^52 rounds to an integer; beyond 2^51 fp32 is coarser than the grid anyway.
    const double units = noised * inverse;
    const double rounded = ((units + 0x1.8p52) - 0x1.8p52) * grid;
    values[i] = static_cast<float>(std::abs(units) < 0x1p51 ? rounded : noised);
  }
}

// Calls visit(first index into the range, normals) for the pieces of a range of positions.
template <typename Visit>
void ForEachPiece(const ChaChaKey& key, int64_t first_position, int64_t count, Visit visit) {
  constexpr int64_t kPiece = kLanes * kNormalsPerGroup;
  alignas(64) double normals[kPiece];
  int64_t done = 0;
  while (done < count) {
    const int64_t position = first_position + done;
    const int64_t group = position / kNormalsPerGroup;
    const int64_t skipped = position - group * kNormalsPerGroup;
    const int64_t size = std::min(kPiece - skipped, count - done);
    EightGroups(key, static_cast<uint64_t>(group), normals);
    visit(done, absl::MakeConstSpan(normals + skipped, size));
    done += size;
  }
}

}  // namespace

ChaChaKey ChaChaKey::FromBytes(const std::array<uint8_t, 32>& bytes) {
  static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);
  ChaChaKey key;
  std::memcpy(key.words.data(), bytes.data(), bytes.size());
  return key;
}

void ChaChaWords(const ChaChaKey& key, uint64_t stream, uint64_t first_block,
                 absl::Span<uint32_t> words) {
  constexpr size_t kPiece = 16 * kLanes;
  uint32_t piece[kPiece];
  for (size_t done = 0; done < words.size(); done += kPiece) {
    EightBlocksInOrder(key, stream, first_block + done / 16, piece);
    const size_t size = std::min(kPiece, words.size() - done);
    std::copy(piece, piece + size, words.begin() + done);
  }
}

double TailUniform(const ChaChaKey& key, uint64_t pair, uint32_t low) {
  uint32_t words[2];
  ChaChaWords(key, kTailStream, pair, absl::MakeSpan(words));
  const double further = words[0] * 0x1p-32 + (words[1] + 0.5) * 0x1p-64;
  return (low + further) * 0x1p-64;
}

void FillNormals(const ChaChaKey& key, int64_t first_position, absl::Span<double> normals) {
  ForEachPiece(key, first_position, static_cast<int64_t>(normals.size()),
               [normals](int64_t index, absl::Span<const double> piece) {
                 std::copy(piece.begin(), piece.end(), normals.begin() + index);
               });
}

void AddNoise(const ChaChaKey& key, int64_t first_position, double stddev,
              absl::Span<float> values) {
  if (stddev == 0) return;
  const double grid = NoiseGrid(stddev);
  ForEachPiece(key, first_position, static_cast<int64_t>(values.size()),
               [=](int64_t index, absl::Span<const double> piece) {
                 AddOnGrid(piece.data(), stddev, grid, static_cast<int64_t>(piece.size()),
                           values.data() + index);
               });
}

double NoiseGrid(double stddev) { return std::ldexp(1.0, std::ilogb(stddev) - 20); }

}  // namespace sotto::kernels
