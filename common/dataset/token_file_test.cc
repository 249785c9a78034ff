#include "common/dataset/token_file.h"

#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/log.h"
#include "common/base/status_matchers.h"
#include "common/crypto/sha256.h"
#include "common/dataset/token_file_writer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sotto::dataset {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

std::string TestPath(absl::string_view name) {
  return absl::StrCat(::testing::TempDir(), "/",
                      ::testing::UnitTest::GetInstance()->current_test_info()->name(), "-", name);
}

// Three records: [1, 2, 3] scored but for the first, [256], and one that is cut to 4 tokens.
std::string WriteFile(const std::string& path) {
  TokenFileWriter::Options options;
  options.max_length = 4;
  TokenFileWriter writer = *TokenFileWriter::Create(path, options);
  SOTTO_CHECK_OK(writer.Add({1, 2, 3}, {0, 1, 1}));
  SOTTO_CHECK_OK(writer.Add({256}, {}));
  SOTTO_CHECK_OK(writer.Add({9, 8, 7, 6, 5, 4}, {}));
  return *writer.Finish();
}

// Where the data begins, found as a reader would.
size_t DataBegin(const std::string& bytes) {
  uint64_t header_bytes;
  std::memcpy(&header_bytes, bytes.data() + 8, 8);
  return (16 + header_bytes + 7) / 8 * 8;
}

// Writes a copy of the file with `change` applied and opens it.
template <typename Change>
absl::StatusOr<std::unique_ptr<TokenFile>> OpenChanged(Change change) {
  const std::string path = TestPath("changed");
  WriteFile(path);
  std::string bytes = *ReadFile(path);
  change(bytes);
  SOTTO_CHECK_OK(AtomicWriteFile(path, bytes));
  return TokenFile::Open(path);
}

TEST(TokenFileTest, ReadsWhatWasWritten) {
  const std::string path = TestPath("file");
  const std::string sha256 = WriteFile(path);
  ASSERT_OK_AND_ASSIGN(auto file, TokenFile::Open(path));
  EXPECT_EQ(file->num_records(), 3);
  EXPECT_EQ(file->header().truncated_records, 1);
  EXPECT_EQ(file->header().tokens, 8);
  EXPECT_EQ(file->HexSha256(), sha256);
  EXPECT_OK(file->Validate(TokenFile::Audience::kSteward));

  std::vector<int64_t> tokens(3);
  std::vector<float> scored(3);
  file->Read(0, absl::MakeSpan(tokens), absl::MakeSpan(scored));
  EXPECT_THAT(tokens, ElementsAre(1, 2, 3));
  EXPECT_THAT(scored, ElementsAre(0, 1, 1));
  EXPECT_EQ(file->Length(1), 1);
  tokens.resize(4);
  scored.resize(4);
  file->Read(2, absl::MakeSpan(tokens), absl::MakeSpan(scored));
  EXPECT_THAT(tokens, ElementsAre(9, 8, 7, 6));
}

TEST(TokenFileTest, WideVocabularyKeepsLargeTokens) {
  const std::string path = TestPath("wide");
  TokenFileWriter::Options options;
  options.max_length = 4;
  options.vocabulary_size = 100'000;
  ASSERT_OK_AND_ASSIGN(TokenFileWriter writer, TokenFileWriter::Create(path, options));
  ASSERT_OK(writer.Add({99'999, 65'536}, {}));
  ASSERT_OK(writer.Finish());
  ASSERT_OK_AND_ASSIGN(auto file, TokenFile::Open(path));
  std::vector<int64_t> tokens(2);
  std::vector<float> scored(2);
  file->Read(0, absl::MakeSpan(tokens), absl::MakeSpan(scored));
  EXPECT_THAT(tokens, ElementsAre(99'999, 65'536));
}

TEST(TokenFileTest, EmptyFileOfNoRecordsIsValid) {
  const std::string path = TestPath("none");
  TokenFileWriter::Options options;
  options.max_length = 4;
  ASSERT_OK_AND_ASSIGN(TokenFileWriter writer, TokenFileWriter::Create(path, options));
  ASSERT_OK(writer.Finish());
  ASSERT_OK_AND_ASSIGN(auto file, TokenFile::Open(path));
  EXPECT_EQ(file->num_records(), 0);
  EXPECT_OK(file->Validate(TokenFile::Audience::kWorker));
}

TEST(TokenFileTest, MissingFileIsNotFound) {
  EXPECT_THAT(TokenFile::Open(TestPath("missing")), StatusIs(absl::StatusCode::kNotFound));
}

TEST(TokenFileTest, EveryTruncationIsSeen) {
  const std::string path = TestPath("whole");
  WriteFile(path);
  const std::string bytes = *ReadFile(path);
  for (size_t size = 0; size < bytes.size(); ++size) {
    ASSERT_OK(AtomicWriteFile(path, absl::string_view(bytes).substr(0, size)));
    EXPECT_THAT(TokenFile::Open(path), Not(IsOk())) << size;
  }
}

TEST(TokenFileTest, TrailingBytesAreRefused) {
  EXPECT_THAT(OpenChanged([](std::string& bytes) { bytes += '\0'; }),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("longer than declared")));
}

TEST(TokenFileTest, OtherFilesAreRefused) {
  EXPECT_THAT(OpenChanged([](std::string& bytes) { bytes[0] = 'X'; }),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("not a token file")));
}

TEST(TokenFileTest, HugeHeaderLengthIsRefused) {
  EXPECT_THAT(OpenChanged([](std::string& bytes) { bytes.replace(8, 8, 8, '\xff'); }),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("header")));
}

// The record with a wrong token is named to the steward, and to nobody else.
TEST(TokenFileTest, OnlyTheStewardLearnsWhichRecordIsWrong) {
  ASSERT_OK_AND_ASSIGN(auto file, OpenChanged([](std::string& bytes) {
                         const size_t tokens = DataBegin(bytes) + 8 * 4;
                         bytes[tokens + 2 * 3] = '\x01';  // record 1: 256 -> 257
                         bytes[tokens + 2 * 3 + 1] = '\x01';
                       }));
  EXPECT_THAT(
      file->Validate(TokenFile::Audience::kSteward),
      StatusIs(absl::StatusCode::kInvalidArgument, AllOf(HasSubstr("record 1"), HasSubstr("257"))));
  EXPECT_THAT(file->Validate(TokenFile::Audience::kWorker),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("tokens are in [0, 257)"), Not(HasSubstr("record 1")))));
}

TEST(TokenFileTest, DescendingOffsetsAreRefused) {
  ASSERT_OK_AND_ASSIGN(auto file, OpenChanged([](std::string& bytes) {
                         bytes[DataBegin(bytes) + 8 * 2] = 2;  // offsets 0 3 2 8
                       }));
  EXPECT_THAT(file->Validate(TokenFile::Audience::kWorker),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("offsets")));
}

TEST(TokenFileTest, OffsetsBeyondTheTokensAreRefused) {
  ASSERT_OK_AND_ASSIGN(auto file, OpenChanged([](std::string& bytes) {
                         bytes[DataBegin(bytes) + 8 * 2 + 7] = '\x7f';
                       }));
  EXPECT_THAT(file->Validate(TokenFile::Audience::kWorker),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("offsets")));
}

TEST(TokenFileTest, MasksOtherThanZeroAndOneAreRefused) {
  ASSERT_OK_AND_ASSIGN(auto file, OpenChanged([](std::string& bytes) { bytes.back() = 2; }));
  EXPECT_THAT(file->Validate(TokenFile::Audience::kWorker),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("masks")));
}

TEST(TokenFileTest, ChangedContentIsNotTheRegisteredFile) {
  const std::string path = TestPath("registered");
  const std::string sha256 = WriteFile(path);
  ASSERT_OK_AND_ASSIGN(auto file, TokenFile::Open(path));
  EXPECT_OK(CheckRegistered(*file, sha256, /*max_records=*/3));
  EXPECT_THAT(CheckRegistered(*file, crypto::HexSha256("other"), /*max_records=*/3),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("changed")));
  EXPECT_THAT(CheckRegistered(*file, sha256, /*max_records=*/2),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("declared")));
}

TEST(TokenFileTest, LabelsFollowTheirRecords) {
  const std::string path = TestPath("labels");
  ASSERT_OK_AND_ASSIGN(TokenFileWriter writer,
                       TokenFileWriter::Create(path, {.max_length = 4, .classes = 3}));
  ASSERT_OK(writer.Add({1, 2}, {}, /*label=*/2));
  ASSERT_OK(writer.Add({3}, {}, /*label=*/0));
  EXPECT_THAT(writer.Add({4}, {}, /*label=*/3),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("labels")));
  EXPECT_THAT(writer.Add({4}, {}), StatusIs(absl::StatusCode::kInvalidArgument));
  ASSERT_OK(writer.Finish());
  ASSERT_OK_AND_ASSIGN(auto file, TokenFile::Open(path));
  EXPECT_EQ(file->header().classes, 3);
  EXPECT_EQ(file->Label(0), 2);
  EXPECT_EQ(file->Label(1), 0);
  EXPECT_OK(file->Validate(TokenFile::Audience::kWorker));

  std::string bytes = *ReadFile(path);
  bytes.back() = 1;  // the last label's highest byte
  ASSERT_OK(AtomicWriteFile(path, bytes));
  ASSERT_OK_AND_ASSIGN(file, TokenFile::Open(path));
  EXPECT_THAT(file->Validate(TokenFile::Audience::kSteward),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("record 1")));
}

TEST(TokenFileWriterTest, BadRecordsAreRefused) {
  TokenFileWriter::Options options;
  options.max_length = 4;
  ASSERT_OK_AND_ASSIGN(TokenFileWriter writer,
                       TokenFileWriter::Create(TestPath("unwritten"), options));
  EXPECT_THAT(writer.Add({}, {}), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(writer.Add({257}, {}), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(writer.Add({-1}, {}), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(writer.Add({1, 2}, {1}), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_EQ(writer.records(), 0);
}

}  // namespace
}  // namespace sotto::dataset
