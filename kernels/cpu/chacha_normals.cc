#include "kernels/chacha_normals.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>

// Eight blocks (or groups) at a time, one in each lane. Compiled twice, for AVX2 and for any
// x86-64; the bits are the same, since both do the same IEEE operations. ThreadSanitizer and old
// loaders cannot resolve clones: the plain one serves there.
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
#define SOTTO_LANES_TARGETS __attribute__((target_clones("avx2", "default")))
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
using Longs = uint64_t __attribute__((vector_size(8 * kLanes)));
using Reals = double __attribute__((vector_size(8 * kLanes)));

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

// Exact: a word becomes the low bits of 2^52's mantissa.
SOTTO_LANES_INLINE void ToReals(const Words& words, Reals& out) {
  const Longs bits = __builtin_convertvector(words, Longs) | 0x4330000000000000;
  out = (Reals)bits - 0x1p52;
}

// -2 log(u) for u in (0, 1]: u = m 2^e with m in [sqrt(1/2), sqrt(2)), log m = 2 atanh((m - 1) / (m
// + 1)).
SOTTO_LANES_INLINE void MinusTwoLog(const Reals& u, Reals& out) {
  const Longs bits = (Longs)u;
  Reals mantissa = (Reals)((bits & 0x000fffffffffffff) | 0x3ff0000000000000);
  Reals exponent = (Reals)((bits >> 52) | 0x4330000000000000) - (0x1p52 + 1023);
  const auto is_high = mantissa > std::numbers::sqrt2;
  mantissa = is_high ? mantissa * 0.5 : mantissa;
  exponent = is_high ? exponent + 1 : exponent;
  const Reals s = (mantissa - 1) / (mantissa + 1);
  const Reals t = s * s;  // below 0.0295: the next term is below 1e-17
  Reals sum = Reals{} + 1.0 / 21;
  for (int k = 19; k >= 1; k -= 2) sum = sum * t + 1.0 / k;
  out = -2 * (exponent * std::numbers::ln2 + 2 * s * sum);
}

// sin and cos of 2 pi (angle + 1/2) / 2^32, up to a constant turn: quadrant and offset from its
// middle.
SOTTO_LANES_INLINE void SinCos(const Words& angle, Reals& sine, Reals& cosine) {
  Reals offset;
  ToReals(angle & 0x3fffffff, offset);
  const Reals x = (offset + 0.5 - 0x1p29) * (std::numbers::pi / 0x1p31);  // |x| <= pi / 4
  const Reals t = x * x;
  Reals s = Reals{} - 1 / 1307674368000.0;
  constexpr double kSine[] = {1 / 6227020800.0, -1 / 39916800.0, 1 / 362880.0, -1 / 5040.0,
                              1 / 120.0,        -1 / 6.0,        1.0};
  for (double c : kSine) s = s * t + c;
  s *= x;
  Reals c = Reals{} + 1 / 20922789888000.0;
  constexpr double kCosine[] = {-1 / 87178291200.0, 1 / 479001600.0, -1 / 3628800.0, 1 / 40320.0,
                                -1 / 720.0,         1 / 24.0,        -0.5,           1.0};
  for (double k : kCosine) c = c * t + k;

  const Longs quadrant = __builtin_convertvector(angle >> 30, Longs);
  const auto is_odd = (quadrant & 1) != 0;
  const Longs sine_sign = (quadrant & 2) << 62;
  const Longs cosine_sign = ((quadrant + 1) & 2) << 62;
  const Reals turned_sine = is_odd ? c : s;
  const Reals turned_cosine = is_odd ? s : c;
  sine = (Reals)((Longs)turned_sine ^ sine_sign);
  cosine = (Reals)((Longs)turned_cosine ^ cosine_sign);
}

// The normals of groups first_group .. first_group + 7: out[32 lane + j].
SOTTO_LANES_TARGETS
void EightGroups(const ChaChaKey& key, uint64_t first_group, double* out) {
  Words words[3][16];
  for (int kind = 0; kind < 3; ++kind) {
    uint64_t counters[kLanes];
    for (int lane = 0; lane < kLanes; ++lane) counters[lane] = 3 * (first_group + lane) + kind;
    EightBlocks(key, kMainStream, counters, words[kind]);
  }
  for (int w = 0; w < 16; ++w) {
    Reals low;
    Reals high;
    ToReals(words[0][w], low);
    ToReals(words[1][w], high);
    Reals u = (high + (low + 0.5) * 0x1p-32) * 0x1p-32;
    for (int lane = 0; lane < kLanes; ++lane) {
      if (words[1][w][lane] != 0) continue;
      u[lane] = TailUniform(key, 16 * (first_group + lane) + w, words[0][w][lane]);
    }
    Reals radius_sq;
    MinusTwoLog(u, radius_sq);
    Reals sine;
    Reals cosine;
    SinCos(words[2][w], sine, cosine);
    for (int lane = 0; lane < kLanes; ++lane) {
      const double radius = std::sqrt(radius_sq[lane]);
      out[kNormalsPerGroup * lane + 2 * w] = radius * cosine[lane];
      out[kNormalsPerGroup * lane + 2 * w + 1] = radius * sine[lane];
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
                 for (size_t i = 0; i < piece.size(); ++i) {
                   const double noised = values[index + i] + stddev * piece[i];
                   // Adding 1.5 * 2^52 rounds to an integer; beyond 2^51 fp32 is coarser than the
                   // grid anyway.
                   const double units = noised / grid;
                   const double rounded = (units + 0x1.8p52) - 0x1.8p52;
                   values[index + i] =
                       static_cast<float>(std::abs(units) < 0x1p51 ? rounded * grid : noised);
                 }
               });
}

double NoiseGrid(double stddev) { return std::ldexp(1.0, std::ilogb(stddev) - 20); }

}  // namespace sotto::kernels
