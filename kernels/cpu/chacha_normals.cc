#include "kernels/chacha_normals.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/cpu/normal_kernels.h"

namespace sotto::kernels {

namespace {

constexpr uint64_t kTailStream = 1;

const cpu::NormalKernel& Kernel() {
  static const cpu::NormalKernel& fastest = cpu::NormalKernels().front();
  return fastest;
}

// Calls visit(first index into the range, normals) for the pieces of a range of positions.
template <typename Visit>
void ForEachPiece(const ChaChaKey& key, int64_t first_position, int64_t count, Visit visit) {
  alignas(64) double normals[kNormalsPerGroup];
  int64_t done = 0;
  while (done < count) {
    const int64_t position = first_position + done;
    const int64_t group = position / kNormalsPerGroup;
    const int64_t skipped = position - group * kNormalsPerGroup;
    const int64_t size = std::min(kNormalsPerGroup - skipped, count - done);
    Kernel().group(key, static_cast<uint64_t>(group), normals);
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
  uint32_t blocks[16 * cpu::kBlocksAtOnce];
  for (size_t done = 0; done < words.size(); ++done) {
    const size_t block = done / 16;
    const size_t in_turn = block % cpu::kBlocksAtOnce;
    if (done % 16 == 0 && in_turn == 0) Kernel().blocks(key, stream, first_block + block, blocks);
    words[done] = blocks[cpu::kBlocksAtOnce * (done % 16) + in_turn];
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
                 Kernel().add_on_grid(piece.data(), stddev, grid,
                                      static_cast<int64_t>(piece.size()), values.data() + index);
               });
}

double NoiseGrid(double stddev) { return std::ldexp(1.0, std::ilogb(stddev) - 20); }

}  // namespace sotto::kernels
