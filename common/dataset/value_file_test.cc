// Files of images and vectors.
#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status_matchers.h"
#include "common/dataset/token_file.h"
#include "common/dataset/value_file_writer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sotto::dataset {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr ValueFileWriter::Options kImages = {
    .value_type = ValueType::kUint8, .shape = {1, 1, 3}, .classes = 4};
constexpr ValueFileWriter::Options kVectors = {
    .value_type = ValueType::kFloat32, .shape = {1, 1, 2}, .targets = 2};

class ValueFileTest : public testing::Test {
 protected:
  // Three records of bytes with labels 1, 2, 3.
  void WriteImages() {
    ASSERT_OK_AND_ASSIGN(ValueFileWriter writer, ValueFileWriter::Create(path_, kImages));
    for (uint8_t i = 1; i <= 3; ++i) {
      ASSERT_OK(writer.Add(std::vector<uint8_t>{0, i, 255}, i, {}));
    }
    ASSERT_OK_AND_ASSIGN(sha256_, writer.Finish());
  }
  void WriteVectors() {
    ASSERT_OK_AND_ASSIGN(ValueFileWriter writer, ValueFileWriter::Create(path_, kVectors));
    for (float i : {1.0f, 2.0f}) {
      ASSERT_OK(writer.Add(std::vector<float>{i, -i}, -1, std::vector<float>{10 * i, 0.5f}));
    }
    ASSERT_OK(writer.Finish().status());
  }
  // Overwrites bytes counted from the end of the file.
  void Overwrite(size_t from_end, const std::string& bytes) {
    std::string content = *ReadFile(path_);
    content.replace(content.size() - from_end, bytes.size(), bytes);
    ASSERT_OK(AtomicWriteFile(path_, content));
  }

  const std::string path_ = absl::StrCat(
      testing::TempDir(), "/", testing::UnitTest::GetInstance()->current_test_info()->name());
  std::string sha256_;
};

TEST_F(ValueFileTest, BytesAreReadCentredAndARecordHasOnePublicLength) {
  WriteImages();
  ASSERT_OK_AND_ASSIGN(const auto file, TokenFile::Open(path_));
  EXPECT_EQ(file->num_records(), 3);
  EXPECT_EQ(file->Length(1), 1);
  EXPECT_EQ(file->Label(2), 3);
  std::vector<float> values(3);
  file->ReadValues(1, absl::MakeSpan(values));
  EXPECT_THAT(values, ElementsAre(-1, 2 / 127.5f - 1, 1));
  EXPECT_OK(CheckRegistered(*file, sha256_, 3));
  EXPECT_THAT(CheckRegistered(*file, sha256_, 2), Not(IsOk()));
}

TEST_F(ValueFileTest, VectorsAndTargetsAreReadAsTheyWereWritten) {
  WriteVectors();
  ASSERT_OK_AND_ASSIGN(const auto file, TokenFile::Open(path_));
  EXPECT_OK(file->Validate(TokenFile::Audience::kSteward));
  std::vector<float> values(2), targets(2);
  file->ReadValues(1, absl::MakeSpan(values));
  file->ReadTargets(1, absl::MakeSpan(targets));
  EXPECT_THAT(values, ElementsAre(2, -2));
  EXPECT_THAT(targets, ElementsAre(20, 0.5f));
}

TEST_F(ValueFileTest, EveryPrefixOfAFileIsRefused) {
  WriteImages();
  const std::string content = *ReadFile(path_);
  for (size_t size = 0; size < content.size(); ++size) {
    ASSERT_OK(AtomicWriteFile(path_, content.substr(0, size)));
    EXPECT_THAT(TokenFile::Open(path_), Not(IsOk())) << size;
  }
  ASSERT_OK(AtomicWriteFile(path_, content + "0"));
  EXPECT_THAT(TokenFile::Open(path_),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("longer than declared")));
}

TEST_F(ValueFileTest, WorkersLearnTheRuleAndStewardsTheRecord) {
  WriteImages();
  Overwrite(4, std::string("\x04\0\0\0", 4));
  ASSERT_OK_AND_ASSIGN(const auto labels, TokenFile::Open(path_));
  EXPECT_THAT(labels->Validate(TokenFile::Audience::kSteward),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("record 2 has 4")));
  EXPECT_THAT(labels->Validate(TokenFile::Audience::kWorker),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       testing::StrEq("token file: labels are in [0, 4)")));
  WriteVectors();
  const std::string infinity("\0\0\x80\x7f", 4);
  Overwrite(4, infinity);
  ASSERT_OK_AND_ASSIGN(const auto targets, TokenFile::Open(path_));
  EXPECT_THAT(targets->Validate(TokenFile::Audience::kWorker),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("targets are finite")));
  WriteVectors();
  Overwrite(2 * 2 * 4 + 4, infinity);  // The last value.
  ASSERT_OK_AND_ASSIGN(const auto values, TokenFile::Open(path_));
  EXPECT_THAT(values->Validate(TokenFile::Audience::kSteward),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("but record 1 has one")));
}

TEST_F(ValueFileTest, RecordsThatDoNotFitAreRefused) {
  ASSERT_OK_AND_ASSIGN(ValueFileWriter images, ValueFileWriter::Create(path_, kImages));
  const std::vector<uint8_t> bytes = {1, 2, 3};
  EXPECT_THAT(images.Add(std::vector<uint8_t>{1, 2}, 1, {}), Not(IsOk()));
  EXPECT_THAT(images.Add(bytes, 4, {}), Not(IsOk()));
  EXPECT_THAT(images.Add(bytes, -1, {}), Not(IsOk()));
  EXPECT_THAT(images.Add(bytes, 1, std::vector<float>{1}), Not(IsOk()));
  EXPECT_THAT(images.Add(std::vector<float>{1, 2, 3}, 1, {}), Not(IsOk()));
  ASSERT_OK_AND_ASSIGN(ValueFileWriter vectors, ValueFileWriter::Create(path_, kVectors));
  const std::vector<float> two = {1, 2};
  EXPECT_THAT(vectors.Add(std::vector<float>{NAN, 1}, -1, two),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("record 0: value 0 must be finite, but is nan")));
  EXPECT_THAT(vectors.Add(two, -1, std::vector<float>{1, INFINITY}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("record 0: target 1 must be finite, but is inf")));
  EXPECT_OK(vectors.Add(two, -1, two));
  EXPECT_EQ(images.records() + vectors.records(), 1);
  EXPECT_THAT(ValueFileWriter::Create(path_, {.shape = {1, 0, 2}}), Not(IsOk()));
  EXPECT_THAT(ValueFileWriter::Create(path_, {.shape = {1, 1, 2}, .targets = -1}), Not(IsOk()));
}

}  // namespace
}  // namespace sotto::dataset
