#include "common/crypto/secret.h"

#include <type_traits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sotto::crypto {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

static_assert(!std::is_copy_constructible_v<Secret> && !std::is_copy_assignable_v<Secret>);

TEST(SecretTest, CloneHoldsTheSameBytes) {
  const Secret secret(absl::string_view("\x01\x02\x03"));
  EXPECT_THAT(secret.Clone().bytes(), ElementsAre(1, 2, 3));
}

TEST(SecretTest, PublicSeedsDiffer) {
  EXPECT_NE(Secret::FromPublicSeed(1).bytes(), Secret::FromPublicSeed(2).bytes());
  EXPECT_NE(Secret::FromPublicSeed(1).bytes(), Secret::FromPublicSeed(uint64_t{1} << 32).bytes());
}

TEST(SecretTest, WipedBytesAreZero) {
  std::vector<uint8_t> bytes(64, 7);
  WipeBytes(absl::MakeSpan(bytes));
  EXPECT_THAT(bytes, Each(0));
}

}  // namespace
}  // namespace sotto::crypto
