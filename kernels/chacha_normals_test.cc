#include "kernels/chacha_normals.h"

#include <openssl/evp.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/cpu/normal_kernels.h"
#include "kernels/reference/chacha_normals.h"
#include "kernels/testing/kolmogorov.h"

namespace sotto::kernels {
namespace {

ChaChaKey MakeKey(uint8_t first) {
  std::array<uint8_t, 32> bytes;
  for (int i = 0; i < 32; ++i) bytes[i] = static_cast<uint8_t>(first + 7 * i);
  return ChaChaKey::FromBytes(bytes);
}

// OpenSSL's key stream; its IV is the state's words 12 to 15.
std::vector<uint32_t> OpensslWords(const ChaChaKey& key, uint64_t stream, uint64_t first_block,
                                   size_t count) {
  const uint64_t iv[2] = {first_block, stream};
  std::vector<uint32_t> zeros(count, 0);
  std::vector<uint32_t> words(count);
  EVP_CIPHER_CTX* context = EVP_CIPHER_CTX_new();
  EXPECT_EQ(EVP_EncryptInit_ex(context, EVP_chacha20(), nullptr,
                               reinterpret_cast<const uint8_t*>(key.words.data()),
                               reinterpret_cast<const uint8_t*>(iv)),
            1);
  int size = 0;
  EXPECT_EQ(EVP_EncryptUpdate(context, reinterpret_cast<uint8_t*>(words.data()), &size,
                              reinterpret_cast<const uint8_t*>(zeros.data()),
                              static_cast<int>(4 * count)),
            1);
  EVP_CIPHER_CTX_free(context);
  return words;
}

TEST(ChaChaTest, EqualsOpenssl) {
  const ChaChaKey key = MakeKey(3);
  for (size_t count : {1, 16, 127, 128, 129, 1000}) {
    for (uint64_t stream : {uint64_t{0}, uint64_t{1}, uint64_t{0x123456789abcdef}}) {
      std::vector<uint32_t> words(count);
      ChaChaWords(key, stream, /*first_block=*/77, absl::MakeSpan(words));
      EXPECT_EQ(words, OpensslWords(key, stream, 77, count)) << count;
    }
  }
}

// Beyond 2^32 blocks OpenSSL 3.0 has wrapped its 32-bit counter in some versions: single blocks are
// compared.
TEST(ChaChaTest, CounterHas64Bits) {
  const ChaChaKey key = MakeKey(4);
  std::vector<uint32_t> words(32);
  const uint64_t block = (uint64_t{1} << 32) - 1;
  ChaChaWords(key, 0, block, absl::MakeSpan(words));
  std::vector<uint32_t> expected = OpensslWords(key, 0, block, 16);
  const std::vector<uint32_t> next = OpensslWords(key, 0, block + 1, 16);
  expected.insert(expected.end(), next.begin(), next.end());
  EXPECT_EQ(words, expected);
}

TEST(ChaChaTest, ReferenceEqualsOpenssl) {
  const ChaChaKey key = MakeKey(5);
  const auto block = reference::ChaChaBlock(key, 9, 12);
  EXPECT_THAT(OpensslWords(key, 9, 12, 16), ::testing::ElementsAreArray(block));
}

TEST(NormalsTest, EqualTheReference) {
  const ChaChaKey key = MakeKey(6);
  for (int64_t first : {int64_t{0}, int64_t{31}, int64_t{1} << 37}) {
    std::vector<double> normals(5003);
    FillNormals(key, first, absl::MakeSpan(normals));
    for (size_t i = 0; i < normals.size(); ++i) {
      ASSERT_NEAR(normals[i], reference::Normal(key, first + i), 1e-13) << first + i;
    }
  }
}

// Of all groups of this key up to here, the first whose radius has a zero high half; found by
// search.
TEST(NormalsTest, TailsAreExtended) {
  const ChaChaKey key = MakeKey(6);
  const int64_t first = 512 * int64_t{18316014} + 223;
  double normals[257];
  FillNormals(key, first, absl::MakeSpan(normals));
  for (int i : {0, 256}) {
    EXPECT_NEAR(normals[i], reference::Normal(key, first + i), 1e-13);
  }
  // Beyond what 32 bits reach.
  EXPECT_GT(std::hypot(normals[0], normals[256]), std::sqrt(2 * 32 * std::log(2.0)));
}

// Values of every size beside normals, the fastest kernels first.
TEST(NormalsTest, InstructionSetsGiveTheSameBits) {
  const ChaChaKey key = MakeKey(13);
  std::vector<std::vector<uint32_t>> words;
  std::vector<std::vector<double>> normals;
  std::vector<std::vector<float>> noised;
  for (const cpu::NormalKernel& kernel : cpu::NormalKernels()) {
    SCOPED_TRACE(kernel.instruction_set);
    auto& own_words = words.emplace_back(16 * cpu::kBlocksAtOnce);
    kernel.blocks(key, /*stream=*/3, /*first_block=*/(uint64_t{1} << 32) - 5, own_words.data());
    auto& own_normals = normals.emplace_back();
    auto& own_noised = noised.emplace_back();
    std::vector<double> group(kNormalsPerGroup);
    for (uint64_t g : {uint64_t{0}, uint64_t{18316014}, uint64_t{1} << 40}) {
      kernel.group(key, g, group.data());
      own_normals.insert(own_normals.end(), group.begin(), group.end());
    }
    for (size_t i = 0; i < own_normals.size(); ++i) {
      own_noised.push_back(std::ldexp(static_cast<float>(own_normals[i]), i % 91));
    }
    kernel.add_on_grid(own_normals.data(), 0.3, 0x1p-22, static_cast<int64_t>(own_noised.size()),
                       own_noised.data());
    EXPECT_EQ(own_words, words[0]);
    EXPECT_EQ(own_normals, normals[0]);
    EXPECT_EQ(own_noised, noised[0]);
  }
}

TEST(NormalsTest, DependOnThePositionOnly) {
  const ChaChaKey key = MakeKey(7);
  std::vector<double> whole(2000);
  FillNormals(key, 64, absl::MakeSpan(whole));
  for (size_t begin : {1, 30, 32, 33, 255, 447, 448, 449, 999, 1999}) {
    std::vector<double> part(whole.size() - begin);
    FillNormals(key, 64 + static_cast<int64_t>(begin), absl::MakeSpan(part));
    EXPECT_THAT(part, ::testing::ElementsAreArray(whole.begin() + begin, whole.end())) << begin;
  }
}

TEST(NormalsTest, KeysGiveDifferentNormals) {
  std::vector<double> a(64);
  std::vector<double> b(64);
  FillNormals(MakeKey(1), 0, absl::MakeSpan(a));
  FillNormals(MakeKey(2), 0, absl::MakeSpan(b));
  for (size_t i = 0; i < a.size(); ++i) EXPECT_NE(a[i], b[i]);
}

// 2^20 draws of a fixed key.
TEST(NormalsTest, AreStandardNormal) {
  std::vector<double> normals(1 << 20);
  FillNormals(MakeKey(8), 0, absl::MakeSpan(normals));
  std::sort(normals.begin(), normals.end());
  EXPECT_LT(KolmogorovDistance(normals, 1), kKolmogorovBound);
  // The same test refuses a scale that is off by two percent.
  EXPECT_GT(KolmogorovDistance(normals, 1 / 1.02), kKolmogorovBound);
}

// Lag correlations of n = 2^20 draws: standard deviation 2^-10; 5 of them has a false alarm of
// 6e-7.
TEST(NormalsTest, NeighboursAreUncorrelated) {
  std::vector<double> normals((1 << 20) + 768);
  FillNormals(MakeKey(9), 0, absl::MakeSpan(normals));
  // 256: sine and cosine of one angle.
  for (int lag : {1, 2, 8, 32, 128, 256, 512, 768}) {
    double product = 0;
    double square_product =
        0;  // sine and cosine of one radius: squares show it if the radius were shared
    for (int i = 0; i < 1 << 20; ++i) {
      product += normals[i] * normals[i + lag];
      square_product += (normals[i] * normals[i] - 1) * (normals[i + lag] * normals[i + lag] - 1);
    }
    EXPECT_LT(std::abs(product) * 0x1p-10, 5) << lag;
    EXPECT_LT(std::abs(square_product) * 0x1p-10, 2 * 5) << lag;
  }
}

TEST(NormalsTest, TailContinuesBelowTheSmallestMainRadius) {
  const ChaChaKey key = MakeKey(10);
  for (uint32_t low : {0u, 1u, 0xffffffffu}) {
    const double u = TailUniform(key, 5, low);
    EXPECT_GT(u, low * 0x1p-64);
    EXPECT_LT(u, (low + 1.0) * 0x1p-64);
  }
  EXPECT_NE(TailUniform(key, 5, 0), TailUniform(key, 6, 0));
}

TEST(AddNoiseTest, AddsScaledNormalsOnTheGrid) {
  const ChaChaKey key = MakeKey(11);
  const double stddev = 0.75;
  std::vector<float> values(1000);
  for (size_t i = 0; i < values.size(); ++i) values[i] = 0.001f * static_cast<float>(i);
  std::vector<float> noised = values;
  AddNoise(key, 7, stddev, absl::MakeSpan(noised));
  const double grid = NoiseGrid(stddev);
  EXPECT_EQ(grid, 0x1p-21);
  for (size_t i = 0; i < values.size(); ++i) {
    const double exact = values[i] + stddev * reference::Normal(key, 7 + static_cast<int64_t>(i));
    // Half a grid step, and half a unit in the last place of fp32.
    EXPECT_NEAR(noised[i], exact, grid / 2 + std::abs(exact) * 0x1p-24 + 1e-13);
    EXPECT_EQ(std::fmod(noised[i], grid), 0);
  }
}

TEST(AddNoiseTest, NoNoiseLeavesValuesAlone) {
  std::vector<float> values = {1.1f, -2.2f};
  AddNoise(MakeKey(1), 0, 0, absl::MakeSpan(values));
  EXPECT_THAT(values, ::testing::ElementsAre(1.1f, -2.2f));
}

TEST(AddNoiseTest, HugeSumsStayWhatFp32Holds) {
  std::vector<float> values = {1e30f};
  AddNoise(MakeKey(1), 0, 1e-3, absl::MakeSpan(values));
  EXPECT_EQ(values[0], 1e30f);
}

}  // namespace
}  // namespace sotto::kernels
