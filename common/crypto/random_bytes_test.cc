#include "common/crypto/random_bytes.h"

#include <vector>

#include "gtest/gtest.h"

namespace sotto::crypto {
namespace {

TEST(RandomBytesTest, DrawsDiffer) {
  EXPECT_EQ(RandomBytes(32).size(), 32);
  EXPECT_NE(RandomBytes(32), RandomBytes(32));  // false alarm: 2^-256
}

// getrandom may return less than asked for above 256 bytes: the last bytes must be filled too.
TEST(RandomBytesTest, FillsLongSpansToTheEnd) {
  std::vector<uint8_t> bytes(1 << 20, 0);
  FillRandomBytes(absl::MakeSpan(bytes));
  int nonzero = 0;
  for (size_t i = bytes.size() - 64; i < bytes.size(); ++i) nonzero += bytes[i] != 0;
  EXPECT_GT(nonzero, 32);  // false alarm: far below 1e-40
}

TEST(RandomBytesTest, HexHasTwoDigitsAByte) { EXPECT_EQ(RandomHex(16).size(), 32); }

}  // namespace
}  // namespace sotto::crypto
