#include "common/dataset/token_file_header.h"

#include <string>

#include "common/base/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sotto::dataset {
namespace {

TokenFileHeader MakeHeader() {
  TokenFileHeader header;
  header.tokenizer = "bytes";
  header.vocabulary_size = 257;
  header.max_length = 128;
  header.records = 3;
  header.tokens = 40;
  header.truncated_records = 1;
  return header;
}

TEST(TokenFileHeaderTest, DecodesWhatItEncodes) {
  EXPECT_THAT(DecodeHeader(EncodeHeader(MakeHeader())), IsOkAndHolds(MakeHeader()));
}

struct BadHeader {
  const char* from;  // in the valid header's text
  const char* to;
  const char* named;
};

TEST(TokenFileHeaderTest, BadFieldsAreNamed) {
  const BadHeader kRows[] = {
      {"\"records\": 3", "\"records\": -3", "records"},
      {"\"records\": 3", "\"records\": 99999999999999999999", "records"},
      {"\"records\": 3", "\"records\": 18446744073709551615", "records"},
      {"\"tokens\": 40", "\"tokens\": \"40\"", "tokens"},
      {"\"max_length\": 128", "\"max_length\": 0", "max_length"},
      {"\"token_bytes\": 2", "\"token_bytes\": 3", "token_bytes"},
      {"\"vocabulary_size\": 257", "\"vocabulary\": 257", "vocabulary_size"},
      {"\"format_version\": 1", "\"format_version\": 3", "format_version"},
      {"\"tokenizer\": \"bytes\"", "\"tokenizer\": 1", "tokenizer"},
      {"\"tokens\": 40", "\"tokens\": 40, \"extra\": 1", "unknown"},
      {"{", "[", "JSON"},
  };
  for (const BadHeader& row : kRows) {
    std::string json = EncodeHeader(MakeHeader());
    const size_t at = json.find(row.from);
    ASSERT_NE(at, std::string::npos) << row.from;
    json.replace(at, std::string(row.from).size(), row.to);
    EXPECT_THAT(DecodeHeader(json),
                StatusIs(absl::StatusCode::kInvalidArgument, ::testing::HasSubstr(row.named)))
        << row.to;
  }
}

TokenFileHeader MakeValueHeader() {
  return {.format_version = kValueFileFormatVersion,
          .max_length = 1,
          .records = 3,
          .classes = 10,
          .value_type = ValueType::kUint8,
          .shape = {3, 8, 9},
          .targets = 2};
}

TEST(ValueFileHeaderTest, DecodesWhatItEncodes) {
  EXPECT_THAT(DecodeHeader(EncodeHeader(MakeValueHeader())), IsOkAndHolds(MakeValueHeader()));
}

TEST(ValueFileHeaderTest, BadFieldsAreNamed) {
  const BadHeader kRows[] = {
      {"\"u8\"", "\"u16\"", "value_type"},
      {"\"records\": 3", "\"records\": -3", "records"},
      {"\"records\": 3", "\"records\": 2000000000", "records"},
      {"  3,", "  0,", "shape"},
      {"  3,", "  -3,", "shape"},
      {"  3,", "  10000000000,", "shape"},
      {"  3,", "  60000000,", "shape"},
      {"  3,", "", "shape"},
      {"\"classes\": 10", "\"classes\": 0", "classes"},
      {"\"targets\": 2", "\"targets\": 0", "targets"},
      {"\"targets\": 2", "\"tokens\": 2", "unknown"},
  };
  for (const BadHeader& row : kRows) {
    std::string json = EncodeHeader(MakeValueHeader());
    const size_t at = json.find(row.from);
    ASSERT_NE(at, std::string::npos) << row.from;
    json.replace(at, std::string(row.from).size(), row.to);
    EXPECT_THAT(DecodeHeader(json),
                StatusIs(absl::StatusCode::kInvalidArgument, ::testing::HasSubstr(row.named)))
        << row.to;
  }
}

}  // namespace
}  // namespace sotto::dataset
