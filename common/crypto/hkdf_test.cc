#include "common/crypto/hkdf.h"

#include <set>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "gtest/gtest.h"

namespace sotto::crypto {
namespace {

std::vector<uint8_t> FromHex(absl::string_view hex) {
  const std::string bytes = absl::HexStringToBytes(hex);
  return {bytes.begin(), bytes.end()};
}

struct Rfc5869Case {
  const char* name;
  const char* input_key;
  const char* salt;
  const char* info;
  const char* output;
};

// RFC 5869, appendix A.1 and A.3 (empty salt and info).
constexpr Rfc5869Case kCases[] = {
    {"A1", "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "000102030405060708090a0b0c",
     "f0f1f2f3f4f5f6f7f8f9",
     "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"},
    {"A3", "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "", "",
     "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"},
};

TEST(HkdfTest, EqualsRfc5869) {
  for (const Rfc5869Case& test : kCases) {
    std::vector<uint8_t> output(42);
    HkdfSha256(FromHex(test.input_key), FromHex(test.salt), FromHex(test.info),
               absl::MakeSpan(output));
    EXPECT_EQ(output, FromHex(test.output)) << test.name;
  }
}

TEST(HkdfTest, KeysOfDifferentPurposesAndStepsDiffer) {
  const Secret secret = Secret::FromPublicSeed(7);
  std::set<Key> keys;
  for (const char* purpose : {"noise", "sampling", "metrics"}) {
    for (int64_t step : {int64_t{0}, int64_t{1}, int64_t{256}, int64_t{1} << 40}) {
      keys.insert(DeriveKey(secret, purpose, step));
    }
  }
  keys.insert(DeriveKey(Secret::FromPublicSeed(8), "noise", 0));
  EXPECT_EQ(keys.size(), 13);
}

TEST(HkdfTest, SameArgumentsGiveTheSameKey) {
  const Secret secret = Secret::FromPublicSeed(7);
  EXPECT_EQ(DeriveKey(secret, "noise", 3), DeriveKey(secret.Clone(), "noise", 3));
}

}  // namespace
}  // namespace sotto::crypto
