// From JSON lines and tensors to files of images and vectors.
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/prepare/prepare.h"
#include "common/base/files.h"
#include "common/base/status_matchers.h"
#include "common/dataset/token_file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sotto::client {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A safetensors file of two images of bytes and their labels.
std::string Tensors(const std::string& header, const std::string& data) {
  std::string bytes(8, '\0');
  bytes[0] = static_cast<char>(header.size());
  return bytes + header + data;
}

const std::string& ImageHeader() {
  static const auto& header =
      *new std::string(R"({"labels":{"dtype":"I64","shape":[2],"data_offsets":[0,16]},)"
                       R"("images":{"dtype":"U8","shape":[2,1,1,2],"data_offsets":[16,20]}})");
  return header;
}

std::string Labels(char one, char other) {
  std::string bytes(16, '\0');
  bytes[0] = one;
  bytes[8] = other;
  return bytes;
}

class ValuePrepareTest : public ::testing::Test {
 protected:
  PrepareOptions Options(const std::string& content, RecordFormat format, int32_t classes) {
    const std::string input = absl::StrCat(directory_, "/in");
    EXPECT_OK(AtomicWriteFile(input, content));
    PrepareOptions options;
    options.inputs = {input};
    options.reader = {.format = format, .classes = classes};
    options.output = absl::StrCat(directory_, "/out");
    return options;
  }
  std::string ErrorOf(const std::string& content, RecordFormat format, int32_t classes) {
    const absl::Status status = Prepare(Options(content, format, classes)).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << content;
    return std::string(status.message());
  }

  const std::string directory_ = *MakeTempDir(absl::StrCat(testing::TempDir(), "/prepare-"));
};

TEST_F(ValuePrepareTest, LinesBecomeVectorsWithLabelsAndTargetsAndAHoldout) {
  PrepareOptions options = Options(
      "{\"values\": [1, 2.5], \"label\": 2, \"targets\": [7]}\n\n"
      "{\"values\": [3, 4], \"label\": 0, \"targets\": [8]}\n",
      RecordFormat::kValues, 3);
  options.holdout = absl::StrCat(directory_, "/public");
  options.holdout_every = 2;
  ASSERT_OK_AND_ASSIGN(const Prepared prepared, Prepare(options));
  EXPECT_EQ(prepared.dataset.records, 1);
  ASSERT_OK_AND_ASSIGN(const auto file, dataset::TokenFile::Open(prepared.dataset.path));
  EXPECT_EQ(file->HexSha256(), prepared.dataset.sha256);
  EXPECT_THAT(file->header().shape, ElementsAre(1, 1, 2));
  EXPECT_EQ(file->header().classes, 3);
  EXPECT_EQ(file->Label(0), 2);
  std::vector<float> values(2), targets(1);
  file->ReadValues(0, absl::MakeSpan(values));
  file->ReadTargets(0, absl::MakeSpan(targets));
  EXPECT_THAT(values, ElementsAre(1, 2.5));
  EXPECT_THAT(targets, ElementsAre(7));
  ASSERT_OK_AND_ASSIGN(const auto held_out, dataset::TokenFile::Open(prepared.holdout.path));
  EXPECT_EQ(held_out->Label(0), 0);
}

TEST_F(ValuePrepareTest, LinesOfImagesHaveTheShapeThatWasGiven) {
  PrepareOptions options = Options("{\"values\": [1, 2, 3, 4]}", RecordFormat::kValues, 0);
  options.shape = {2, 1, 2};
  ASSERT_OK_AND_ASSIGN(const Prepared prepared, Prepare(options));
  ASSERT_OK_AND_ASSIGN(const auto file, dataset::TokenFile::Open(prepared.dataset.path));
  EXPECT_THAT(file->header().shape, ElementsAre(2, 1, 2));
  options.shape = {2, 2, 2};
  EXPECT_THAT(Prepare(options), StatusIs(absl::StatusCode::kInvalidArgument,
                                         HasSubstr("line 1: must have 8 values")));
}

TEST_F(ValuePrepareTest, TensorsOfBytesStayBytes) {
  ASSERT_OK_AND_ASSIGN(
      const Prepared prepared,
      Prepare(Options(Tensors(ImageHeader(), Labels(3, 1) + std::string("\x00\xff\x01\x02", 4)),
                      RecordFormat::kSafetensors, 4)));
  ASSERT_OK_AND_ASSIGN(const auto file, dataset::TokenFile::Open(prepared.dataset.path));
  EXPECT_EQ(file->header().value_type, dataset::ValueType::kUint8);
  EXPECT_EQ(file->num_records(), 2);
  EXPECT_EQ(file->Label(0), 3);
  std::vector<float> values(2);
  file->ReadValues(0, absl::MakeSpan(values));
  EXPECT_THAT(values, ElementsAre(-1, 1));
}

TEST_F(ValuePrepareTest, BytesAreWrittenOnRequestAndWhatDoesNotFitIsRefused) {
  PrepareOptions options =
      Options("{\"values\": [0, 255]}\n{\"values\": [1, 2]}\n", RecordFormat::kValues, 0);
  options.dtype = "u8";
  ASSERT_OK_AND_ASSIGN(const Prepared prepared, Prepare(options));
  EXPECT_EQ(prepared.value_type, "u8, read as v / 127.5 - 1");
  ASSERT_OK_AND_ASSIGN(const auto file, dataset::TokenFile::Open(prepared.dataset.path));
  EXPECT_EQ(file->header().value_type, dataset::ValueType::kUint8);
  std::vector<float> values(2);
  file->ReadValues(0, absl::MakeSpan(values));
  EXPECT_THAT(values, ElementsAre(-1, 1));
  for (const char* other : {"0.5", "300", "-1"}) {
    options = Options(absl::StrCat("{\"values\": [0]}\n\n{\"values\": [", other, "]}\n"),
                      RecordFormat::kValues, 0);
    options.dtype = "u8";
    EXPECT_THAT(Prepare(options),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         HasSubstr("/in: line or row 3 must hold whole numbers from 0 to 255")));
  }
  options.dtype = "int4";
  EXPECT_THAT(Prepare(options), StatusIs(absl::StatusCode::kInvalidArgument,
                                         HasSubstr("--dtype must be u8 or fp32, but is int4")));
}

TEST_F(ValuePrepareTest, TensorsOfBytesMayBecomeNumbers) {
  PrepareOptions options =
      Options(Tensors(ImageHeader(), Labels(3, 1) + std::string("\x00\xff\x01\x02", 4)),
              RecordFormat::kSafetensors, 4);
  options.dtype = "fp32";
  ASSERT_OK_AND_ASSIGN(const Prepared prepared, Prepare(options));
  ASSERT_OK_AND_ASSIGN(const auto file, dataset::TokenFile::Open(prepared.dataset.path));
  EXPECT_EQ(file->header().value_type, dataset::ValueType::kFloat32);
  std::vector<float> values(2);
  file->ReadValues(0, absl::MakeSpan(values));
  EXPECT_THAT(values, ElementsAre(0, 255));
}

TEST_F(ValuePrepareTest, TheTypeIsSaidAndTheRecordThatKeepsBytesOut) {
  const auto text_of = [&](const std::string& content) {
    const absl::StatusOr<Prepared> prepared = Prepare(Options(content, RecordFormat::kValues, 0));
    EXPECT_OK(prepared);
    return prepared.ok() ? prepared->value_type : "";
  };
  EXPECT_EQ(text_of("{\"values\": [1]}\n{\"values\": [2]}\n\n{\"values\": [0.5]}\n"),
            absl::StrCat("fp32, read as they are; 2 of 3 records hold only whole numbers from 0 to "
                         "255, ",
                         directory_, "/in: line or row 4 is the first that does not"));
  EXPECT_THAT(text_of("{\"values\": [1]}"), HasSubstr("--dtype u8 writes bytes"));
  EXPECT_EQ(text_of("{\"values\": [0.5]}\n{\"values\": [-2]}\n{\"values\": [1]}"),
            "fp32, read as they are");
}

TEST_F(ValuePrepareTest, AShapeWithoutExtentIsRefusedAsAShape) {
  for (const std::vector<int32_t>& shape : {std::vector<int32_t>{1, 0, 8}, {1, -8, -8}}) {
    PrepareOptions options = Options("{\"values\": [1]}", RecordFormat::kValues, 0);
    options.shape = shape;
    EXPECT_THAT(Prepare(options),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         HasSubstr("--shape must have dimensions of at least 1, but is 1,")));
  }
}

TEST_F(ValuePrepareTest, WrongInputNamesTheLineOrTheTensorAndNeverItsContent) {
  constexpr auto kValues = RecordFormat::kValues;
  EXPECT_THAT(ErrorOf("{\"values\": [1]}\n{\"values\": [1, 2]}", kValues, 0),
              HasSubstr("line 2: must have 1 values"));
  EXPECT_THAT(ErrorOf("{\"values\": [\"secret\"]}", kValues, 0),
              testing::AllOf(HasSubstr("finite numbers"), testing::Not(HasSubstr("secret"))));
  EXPECT_THAT(ErrorOf("{\"values\": [1e300]}", kValues, 0), HasSubstr("finite numbers"));
  EXPECT_THAT(ErrorOf("{\"values\": [1], \"other\": 2}", kValues, 0), HasSubstr("may only have"));
  EXPECT_THAT(ErrorOf("{\"values\": [1], \"label\": 3}", kValues, 3), HasSubstr("line 1"));
  EXPECT_THAT(ErrorOf("{\"values\": []}", kValues, 0), HasSubstr("shape"));
  constexpr auto kTensors = RecordFormat::kSafetensors;
  const std::string pixels(4, '\1');
  EXPECT_THAT(ErrorOf(Tensors(ImageHeader(), Labels(3, 4) + pixels), kTensors, 4),
              HasSubstr("tensor \"labels\" must be in [0, 4)"));
  EXPECT_THAT(ErrorOf(Tensors(ImageHeader(), Labels(1, 1) + pixels), kTensors, 0),
              HasSubstr("--classes need each other"));
  EXPECT_THAT(
      ErrorOf(Tensors(R"({"weights":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})", pixels),
              kTensors, 0),
      HasSubstr("weights"));
}

TEST_F(ValuePrepareTest, OptionsOfTextAreRefused) {
  PrepareOptions options = Options("{\"values\": [1]}", RecordFormat::kValues, 0);
  options.max_length = 8;
  EXPECT_THAT(Prepare(options),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("--max_length")));
}

}  // namespace
}  // namespace sotto::client
