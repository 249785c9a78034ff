#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <numeric>
#include <string>
#include <vector>

#include "common/base/files.h"
#include "common/base/status_matchers.h"
#include "common/checkpoint/safetensors_header.h"
#include "common/checkpoint/safetensors_reader.h"
#include "common/checkpoint/safetensors_writer.h"
#include "common/crypto/sha256.h"

namespace sotto::checkpoint {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

struct HostileHeader {
  std::string name;
  std::string json;
  std::string complaint;
};

class HostileHeaderTest : public ::testing::TestWithParam<HostileHeader> {};

TEST_P(HostileHeaderTest, IsRefused) {
  EXPECT_THAT(ParseSafetensorsHeader(GetParam().json, 8),
              StatusIs(kInvalid, HasSubstr(GetParam().complaint)));
}

// The valid row is {"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}; each of these breaks one
// thing.
INSTANTIATE_TEST_SUITE_P(
    Headers, HostileHeaderTest,
    ::testing::ValuesIn<HostileHeader>({
        {"NotJson", R"({"a")", "not a JSON object"},
        {"NotAnObject", "[]", "not a JSON object"},
        {"NameTwice",
         R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
         "the name a stands twice"},
        {"FieldTwice", R"({"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}})",
         "stands twice"},
        {"UnknownDtype", R"({"a":{"dtype":"F31","shape":[2],"data_offsets":[0,8]}})",
         "tensor a: its dtype F31"},
        {"MissingShape", R"({"a":{"dtype":"F32","data_offsets":[0,8]}})",
         "tensor a: it does not have exactly"},
        {"MoreFields", R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}})",
         "exactly"},
        {"NegativeExtent", R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})",
         "tensor a: an extent"},
        {"FractionalExtent", R"({"a":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}})",
         "natural"},
        {"Overflow",
         R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}})", "large"},
        {"BytesOverflow",
         R"({"a":{"dtype":"F32","shape":[4611686018427387906],"data_offsets":[0,8]}})", "large"},
        {"WrongLength", R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})",
         "tensor a: data_offsets [0, 8) do not match its shape and dtype, which take 12"},
        {"Reversed", R"({"a":{"dtype":"F32","shape":[0],"data_offsets":[8,0]}})", "match"},
        {"Hole", R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
         "tensor a: it begins at byte 4, but the one before ends at 0"},
        {"Overlap",
         R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
         "tensor b: it begins at byte 4, but the one before ends at 8"},
        {"Short", R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
         "take 4 bytes, but the file holds 8"},
        {"Metadata",
         R"({"__metadata__":{"x":1},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})",
         "strings"},
        {"Long",
         R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})",
         "take 12 bytes, but the file holds 8"},
        {"DtypeOfAnotherWidth", R"({"a":{"dtype":"BF16","shape":[2],"data_offsets":[0,8]}})",
         "which take 4 bytes"},
        {"OffsetsOfAnotherType", R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,"8"]}})",
         "tensor a: data_offsets are not two natural numbers"},
        {"OneOffset", R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0]}})",
         "tensor a: data_offsets are not two natural numbers"},
        {"EntryOfAnotherType", R"({"a":[0,8]})", "tensor a: it does not have exactly"},
        {"Deep", R"({"a":{"dtype":"F32","shape":[[2]],"data_offsets":[0,8]}})", "deeply"},
    }),
    [](const auto& info) { return info.param.name; });

TEST(SafetensorsHeaderTest, FormatAndParseAgree) {
  SafetensorsHeader header;
  header.entries = {
      {"b", "F32", {1, 2}, 0, 8}, {"a", "BF16", {3}, 8, 14}, {"e", "F32", {0}, 14, 14}};
  header.metadata = {{"format", "pt"}};
  const std::string text = FormatSafetensorsHeader(header);
  EXPECT_EQ(text.size() % 8, 0u);
  ASSERT_OK_AND_ASSIGN(const SafetensorsHeader parsed, ParseSafetensorsHeader(text, 14));
  ASSERT_EQ(parsed.entries.size(), 3u);
  EXPECT_EQ(parsed.entries[0].name, "b");
  EXPECT_THAT(parsed.entries[0].shape, ElementsAre(1, 2));
  EXPECT_EQ(parsed.entries[1].dtype, "BF16");
  EXPECT_EQ(parsed.metadata, header.metadata);
}

class SafetensorsFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(folder_, MakeTempDir(::testing::TempDir() + "/safetensors-"));
    path_ = folder_ + "/file";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string folder_;
  std::string path_;
};

TEST_F(SafetensorsFileTest, PiecesBecomeTensors) {
  const std::vector<TensorShape> shapes = {{"x", {2, 3}}, {"empty", {0, 5}}, {"y", {4}}};
  ASSERT_OK_AND_ASSIGN(SafetensorsWriter writer, SafetensorsWriter::Create(path_, shapes, {}));
  std::vector<float> values(10);
  std::iota(values.begin(), values.end(), 0.5f);
  ASSERT_OK(writer.Append(absl::MakeSpan(values).subspan(0, 7)));
  ASSERT_OK(writer.Append(absl::MakeSpan(values).subspan(7)));
  ASSERT_OK_AND_ASSIGN(const std::string sha256, writer.Finish());
  EXPECT_THAT(crypto::HexSha256OfFile(path_), IsOkAndHolds(sha256));
  EXPECT_EQ(std::filesystem::file_size(path_), static_cast<uint64_t>(writer.bytes_written()));

  ASSERT_OK_AND_ASSIGN(const auto reader, SafetensorsReader::Open(path_));
  std::vector<float> part(3);
  ASSERT_OK(reader->ReadFloats("y", 1, absl::MakeSpan(part)));
  EXPECT_THAT(part, ElementsAre(7.5f, 8.5f, 9.5f));
  EXPECT_THAT(reader->ReadFloats("y", 2, absl::MakeSpan(part)), StatusIs(kInvalid));
  EXPECT_THAT(reader->ReadFloats("z", 0, absl::MakeSpan(part)),
              StatusIs(absl::StatusCode::kNotFound));
}

// Bytes of files that this process has in memory through its maps.
int64_t ResidentFileBytes() {
  const absl::StatusOr<std::string> status = ReadFile("/proc/self/status");
  const size_t line = status.ok() ? status->find("RssFile:") : std::string::npos;
  if (line == std::string::npos) return -1;
  return std::strtoll(status->c_str() + line + std::strlen("RssFile:"), nullptr, 10) * 1024;
}

// A rank that starts from a large model holds its shard, not the file besides.
TEST_F(SafetensorsFileTest, WhatWasReadDoesNotStayInMemory) {
  constexpr int64_t kPieces = 32;
  std::vector<float> piece(1 << 18);  // 1 MiB
  ASSERT_OK_AND_ASSIGN(
      SafetensorsWriter writer,
      SafetensorsWriter::Create(path_, {{"x", {kPieces, static_cast<int64_t>(piece.size())}}}, {}));
  for (int64_t i = 0; i < kPieces; ++i) {
    std::fill(piece.begin(), piece.end(), static_cast<float>(i));
    ASSERT_OK(writer.Append(piece));
  }
  ASSERT_OK(writer.Finish());
  ASSERT_OK_AND_ASSIGN(const auto reader, SafetensorsReader::Open(path_));
  const int64_t before = ResidentFileBytes();
  if (before < 0) GTEST_SKIP() << "this kernel does not say which pages of files are resident";
  for (int64_t i = 0; i < kPieces; ++i) {
    ASSERT_OK(
        reader->ReadFloats("x", i * static_cast<int64_t>(piece.size()), absl::MakeSpan(piece)));
    ASSERT_EQ(piece.back(), static_cast<float>(i));
    EXPECT_LE(ResidentFileBytes(), before + (int64_t{8} << 20)) << "piece " << i;
  }
}

TEST_F(SafetensorsFileTest, WriterHoldsToItsDeclaration) {
  EXPECT_THAT(SafetensorsWriter::Create(path_, {{"x", {1}}, {"x", {1}}}, {}).status(),
              StatusIs(kInvalid, HasSubstr("twice")));
  ASSERT_OK_AND_ASSIGN(SafetensorsWriter writer,
                       SafetensorsWriter::Create(path_, {{"x", {2}}}, {}));
  ASSERT_OK(writer.Append({1.0f}));
  EXPECT_THAT(writer.Append({1.0f, 2.0f}), StatusIs(kInvalid));
  EXPECT_THAT(writer.Finish(), StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST_F(SafetensorsFileTest, OtherFilesAreRefused) {
  EXPECT_THAT(SafetensorsReader::Open(folder_ + "/none").status(),
              StatusIs(absl::StatusCode::kNotFound));
  for (const std::string& bytes :
       {std::string("short"), std::string("\xff\xff\xff\xff\xff\xff\xff\xff{}"),
        std::string("\x03\0\0\0\0\0\0\0{}", 10)}) {
    ASSERT_OK(AtomicWriteFile(path_, bytes));
    EXPECT_THAT(SafetensorsReader::Open(path_).status(), StatusIs(kInvalid));
  }
}

TEST(SafetensorsGoldenTest, ReadsTheReferenceWritersFile) {
  ASSERT_OK_AND_ASSIGN(const auto reader,
                       SafetensorsReader::Open("tests/golden/models/gpt2_tied/model.safetensors"));
  const SafetensorsEntry* entry = reader->Find("transformer.wte.weight");
  ASSERT_NE(entry, nullptr);
  EXPECT_THAT(entry->shape, ElementsAre(97, 32));
  EXPECT_EQ(reader->header().metadata.at("format"), "pt");
}

}  // namespace
}  // namespace sotto::checkpoint
