// Keyed noise: standard normals as a function of (key, position), from ChaCha20 (RFC 8439, 20
// rounds).
//
// The state's words 12 and 13 are a 64-bit block counter, words 14 and 15 a 64-bit stream number
// (OpenSSL's EVP_chacha20 takes the same four words as its IV). Positions come in groups of 512.
// Group g uses blocks 48 g .. 48 g + 47 of stream 0, laid out so that vectors need no shuffles. Its
// pair p = 128 i + 8 w + j (i < 2, w < 16, j < 8) has a 64-bit radius, word w of blocks 16 i + 2 j
// (low) and 16 i + 2 j + 1 (high), and a 32-bit angle, word w of block 32 + 2 j + i; Box-Muller
// makes positions 512 g + p and 512 g + 256 + p of them. Where the radius's high half is zero
// (2^-32), 64 further bits extend it (stream 1, block 256 g + p): the tail reaches 13.3 sigma.
// Constant time but for those.
#ifndef SOTTO_KERNELS_CHACHA_NORMALS_H_
#define SOTTO_KERNELS_CHACHA_NORMALS_H_

#include <array>
#include <cstdint>

#include "absl/types/span.h"

namespace sotto::kernels {

inline constexpr int64_t kNormalsPerGroup = 512;

// 256 bits, little-endian words.
struct ChaChaKey {
  std::array<uint32_t, 8> words{};

  static ChaChaKey FromBytes(const std::array<uint8_t, 32>& bytes);
};

// Key stream of a stream from block `first_block` on, 16 words a block; any size.
void ChaChaWords(const ChaChaKey& key, uint64_t stream, uint64_t first_block,
                 absl::Span<uint32_t> words);

// normals[i] = the standard normal of position first_position + i. Error of each: below 1e-13.
void FillNormals(const ChaChaKey& key, int64_t first_position, absl::Span<double> normals);

// values[i] = round(values[i] + stddev * normal(first_position + i)), computed in fp64 and rounded
// to a multiple of NoiseGrid(stddev) before it becomes fp32, so that low bits of the sum do not
// show in the result (Mironov 2012). stddev 0 leaves the values as they are. The result of an
// element depends on its own value and position only.
void AddNoise(const ChaChaKey& key, int64_t first_position, double stddev,
              absl::Span<float> values);

// The power of two in (stddev 2^-21, stddev 2^-20]; stddev > 0.
double NoiseGrid(double stddev);

// The radius's uniform variable where its high half is zero: in (0, 2^-32). `pair` = 256 g + p.
double TailUniform(const ChaChaKey& key, uint64_t pair, uint32_t low);

}  // namespace sotto::kernels

#endif  // SOTTO_KERNELS_CHACHA_NORMALS_H_
