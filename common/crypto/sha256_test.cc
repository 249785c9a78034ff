#include "common/crypto/sha256.h"

#include <string>

#include "common/base/files.h"
#include "common/base/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sotto::crypto {
namespace {

// FIPS 180-4 examples.
TEST(Sha256Test, EqualsPublishedDigests) {
  EXPECT_EQ(HexSha256(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(HexSha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Sha256Test, PiecesHashAsTheWhole) {
  const std::string text(100'001, 'x');
  Sha256 hash;
  hash.Update(text.substr(0, 77));
  hash.Update(text.substr(77));
  EXPECT_EQ(HexOf(hash.Finish()), HexSha256(text));
}

TEST(Sha256Test, FileHashesAsItsBytes) {
  const std::string path = ::testing::TempDir() + "/sha256_test";
  const std::string contents(3'000'000, 'y');  // more than one piece
  ASSERT_OK(AtomicWriteFile(path, contents));
  EXPECT_THAT(HexSha256OfFile(path), IsOkAndHolds(HexSha256(contents)));
}

TEST(Sha256Test, MissingFileIsNotFound) {
  EXPECT_THAT(HexSha256OfFile("/nonexistent/file"),
              StatusIs(absl::StatusCode::kNotFound, ::testing::HasSubstr("/nonexistent/file")));
}

}  // namespace
}  // namespace sotto::crypto
