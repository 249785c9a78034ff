// Keyed noise: standard normals as a function of (key, position), from ChaCha20 (RFC 8439, 20
// rounds).
//
// The state's words 12 and 13 are a 64-bit block counter, words 14 and 15 a 64-bit stream number
// (OpenSSL's EVP_chacha20 takes the same four words as its IV). Positions come in groups of 32 (128
// bytes of fp32). Group g uses blocks 3g, 3g + 1 and 3g + 2 of stream 0: word w of each gives the
// low and the high half of a 64-bit radius and a 32-bit angle, and Box-Muller makes positions 32 g
// + 2 w and 32 g + 2 w + 1 of them. Where the high half is zero (2^-32), 64 further bits extend the
// radius (stream 1, block 16 g + w): the tail reaches 13.3 sigma. Constant time but for those.
#ifndef SOTTO_KERNELS_CHACHA_NORMALS_H_
#define SOTTO_KERNELS_CHACHA_NORMALS_H_

#include <array>
#include <cstdint>

#include "absl/types/span.h"

namespace sotto::kernels {

inline constexpr int64_t kNormalsPerGroup = 32;

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

// The radius's uniform variable where its high half is zero: in (0, 2^-32). `pair` = 16 g + w.
double TailUniform(const ChaChaKey& key, uint64_t pair, uint32_t low);

}  // namespace sotto::kernels

#endif  // SOTTO_KERNELS_CHACHA_NORMALS_H_
