// Directories that several write at once.
#include "common/checkpoint/hugging_face_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "common/base/files.h"
#include "common/base/status_matchers.h"
#include "common/checkpoint/hugging_face_files.h"
#include "common/checkpoint/hugging_face_layout.h"
#include "common/checkpoint/hugging_face_part.h"
#include "common/checkpoint/safetensors_writer.h"
#include "common/checkpoint/testing/forwarding_files.h"

namespace sotto::checkpoint {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::SizeIs;

constexpr char kName[] = "model.safetensors";

std::vector<float> ValuesOf(const TensorShape& tensor, float first) {
  std::vector<float> values(tensor.num_elements());
  for (size_t i = 0; i < values.size(); ++i) values[i] = first + static_cast<float>(i) / 7;
  return values;
}

class HuggingFaceFolderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(root_, MakeTempDir(::testing::TempDir() + "/folder-"));
    out_ = root_ + "/out";
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  HuggingFaceFolder::Options Options(FileOperations& files = DiskOperations::Get()) const {
    return {.directory = out_, .config = "{}\n", .files = &files};
  }

  // What one who writes tensor after tensor makes of a file's tensors.
  std::string WrittenInOrder(absl::Span<const TensorShape> tensors,
                             absl::Span<const std::vector<float>> values) const {
    const std::string path = root_ + "/in-order";
    SafetensorsWriter writer = *SafetensorsWriter::Create(path, tensors, {{"format", "pt"}});
    for (const std::vector<float>& of_tensor : values) EXPECT_OK(writer.Append(of_tensor));
    EXPECT_OK(writer.Finish().status());
    return *ReadFile(path);
  }

  std::string root_;
  std::string out_;
};

// Three writers, each with a third of every tensor; the last writer and the last tensor first.
TEST_F(HuggingFaceFolderTest, PartsMakeTheFilesOfOneWriter) {
  constexpr int kParts = 3;
  for (const char* dtype : {"F32", "BF16", "F16"}) {
    SCOPED_TRACE(dtype);
    const std::vector<TensorShape> tensors = {
        {"a", {7, 11}, dtype}, {"b", {5}, dtype}, {"empty", {0, 3}, dtype}, {"c", {3, 100}, dtype}};
    std::vector<std::vector<float>> values;
    for (const TensorShape& tensor : tensors) {
      values.push_back(ValuesOf(tensor, static_cast<float>(values.size())));
    }
    for (const bool is_divided : {false, true}) {
      ASSERT_OK_AND_ASSIGN(
          const HuggingFaceLayout layout,
          HuggingFaceLayout::Create(tensors, is_divided ? tensors[0].num_bytes() + 1 : 0));
      {
        ASSERT_OK_AND_ASSIGN(const auto folder, HuggingFaceFolder::Create(Options(), layout));
        std::vector<std::unique_ptr<HuggingFacePart>> parts;
        for (int i = 0; i < kParts; ++i) {
          parts.push_back(
              std::make_unique<HuggingFacePart>(layout, folder->path(), DiskOperations::Get()));
        }
        for (int tensor = 3; tensor >= 0; --tensor) {
          const absl::Span<const float> all = values[tensor];
          for (int i = kParts - 1; i >= 0; --i) {
            const size_t begin = all.size() * i / kParts;
            const size_t end = all.size() * (i + 1) / kParts;
            ASSERT_OK(parts[i]->Write(tensor, static_cast<int64_t>(begin),
                                      all.subspan(begin, end - begin)));
          }
        }
        for (const auto& part : parts) ASSERT_OK(part->Sync());
        ASSERT_OK(folder->Publish());
      }
      ASSERT_THAT(layout.files(), SizeIs(is_divided ? 3 : 1));
      size_t next = 0;
      for (int file = 0; file < static_cast<int>(layout.files().size()); ++file) {
        const size_t first = next;
        while (next < tensors.size() && layout.PlaceOf(static_cast<int>(next)).file == file) ++next;
        EXPECT_EQ(*ReadFile(absl::StrCat(out_, "/", layout.files()[file].name)),
                  WrittenInOrder(absl::MakeSpan(tensors).subspan(first, next - first),
                                 absl::MakeSpan(values).subspan(first, next - first)));
      }
      EXPECT_EQ(next, tensors.size());
      EXPECT_OK(HuggingFaceFiles::Open(out_).status());  // As the index, if any, has it.
      std::filesystem::remove_all(out_);
    }
  }
}

TEST_F(HuggingFaceFolderTest, BytesOfOtherDtypesStayAsTheyAre) {
  const std::vector<TensorShape> tensors = {{"positions", {2}, "I64"}, {"mask", {1, 3}, "BOOL"}};
  ASSERT_OK_AND_ASSIGN(const HuggingFaceLayout layout, HuggingFaceLayout::Create(tensors, 0));
  ASSERT_OK_AND_ASSIGN(const auto folder, HuggingFaceFolder::Create(Options(), layout));
  HuggingFacePart part(layout, folder->path(), DiskOperations::Get());
  const std::string positions("0123456789abcdef");
  ASSERT_OK(part.WriteBytes(0, 0, positions.substr(0, 5)));
  ASSERT_OK(part.WriteBytes(0, 5, positions.substr(5)));
  ASSERT_OK(part.WriteBytes(1, 1, "\1"));
  ASSERT_OK(part.Sync());
  ASSERT_OK(folder->Publish());
  ASSERT_OK_AND_ASSIGN(const auto files, HuggingFaceFiles::Open(out_));
  const auto bytes_of = [&](const std::string& name) {
    const FileTensor& tensor = files->tensors().at(name);
    const absl::Span<const uint8_t> bytes = tensor.file->Bytes(*tensor.entry);
    return std::string(bytes.begin(), bytes.end());
  };
  EXPECT_EQ(bytes_of("positions"), positions);
  EXPECT_EQ(bytes_of("mask"), std::string("\0\1\0", 3));  // Zero where nobody wrote.
}

TEST_F(HuggingFaceFolderTest, PartsRefuseWhatIsNoPlaceOfATensor) {
  const std::vector<TensorShape> tensors = {{"a", {2, 3}}, {"mask", {4}, "U8"}};
  ASSERT_OK_AND_ASSIGN(const HuggingFaceLayout layout, HuggingFaceLayout::Create(tensors, 0));
  ASSERT_OK_AND_ASSIGN(const auto folder, HuggingFaceFolder::Create(Options(), layout));
  HuggingFacePart part(layout, folder->path(), DiskOperations::Get());
  const std::string before = *ReadFile(absl::StrCat(folder->path(), "/", kName));
  const auto refuses = [](const char* what) {
    return StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(what));
  };
  EXPECT_THAT(part.Write(0, 5, {1.0f, 2.0f}), refuses("outside of tensor a"));
  EXPECT_THAT(part.Write(0, -1, {1.0f}), refuses("outside of tensor a"));
  EXPECT_THAT(part.WriteBytes(1, 3, "xy"), refuses("outside of tensor mask"));
  EXPECT_THAT(part.Write(1, 0, {1.0f}), refuses("tensor mask must be F32, BF16 or F16"));
  EXPECT_OK(part.Sync());
  EXPECT_EQ(*ReadFile(absl::StrCat(folder->path(), "/", kName)), before);
}

TEST_F(HuggingFaceFolderTest, DeclarationsThatAreNoneAreRefusedByName) {
  EXPECT_THAT(
      HuggingFaceLayout::Create({{"a", {1}}, {"a", {1}}}, 0).status(),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("tensor a is declared twice")));
  EXPECT_THAT(HuggingFaceLayout::Create({{"a", {1}, "F12"}}, 0).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("F12")));
}

// Has room for a few files, but not for a long one.
class SmallDisk : public ForwardingFiles {
 public:
  absl::Status Reserve(int file, int64_t bytes) override {
    if (bytes < 1000) return ForwardingFiles::Reserve(file, bytes);
    return absl::UnavailableError("No space left on device");
  }
};

TEST_F(HuggingFaceFolderTest, ADiskThatIsTooSmallIsFoundAtTheStart) {
  SmallDisk disk;
  ASSERT_OK_AND_ASSIGN(const HuggingFaceLayout layout,
                       HuggingFaceLayout::Create({{"a", {2}}, {"b", {1000}}}, 8));
  EXPECT_THAT(HuggingFaceFolder::Create(Options(disk), layout).status(),
              StatusIs(absl::StatusCode::kUnavailable,
                       AllOf(HasSubstr("model-00002-of-00002.safetensors: "),
                             HasSubstr("No space left on device"))));
  EXPECT_TRUE(std::filesystem::is_empty(root_));
}

TEST_F(HuggingFaceFolderTest, FilesHaveTheirLengthAtTheStart) {
  ASSERT_OK_AND_ASSIGN(const HuggingFaceLayout layout,
                       HuggingFaceLayout::Create({{"a", {1000}}}, 0));
  ASSERT_OK_AND_ASSIGN(const auto folder, HuggingFaceFolder::Create(Options(), layout));
  const std::string contents = *ReadFile(absl::StrCat(folder->path(), "/", kName));
  EXPECT_EQ(contents, layout.files()[0].head + std::string(4000, '\0'));
}

TEST_F(HuggingFaceFolderTest, WhatIsNotPublishedIsGone) {
  ASSERT_OK_AND_ASSIGN(const HuggingFaceLayout layout, HuggingFaceLayout::Create({{"a", {2}}}, 0));
  HuggingFaceFolder::Options options = Options();
  options.path = root_ + "/of-a-killed-writer";
  std::filesystem::create_directory(options.path);
  ASSERT_OK(AtomicWriteFile(options.path + "/model-00001-of-00002.safetensors", "half"));
  ASSERT_OK_AND_ASSIGN(auto folder, HuggingFaceFolder::Create(options, layout));
  EXPECT_FALSE(std::filesystem::exists(options.path + "/model-00001-of-00002.safetensors"));
  HuggingFacePart part(layout, folder->path(), DiskOperations::Get());
  ASSERT_OK(part.Write(0, 0, {1.0f}));
  folder.reset();
  EXPECT_TRUE(std::filesystem::is_empty(root_));
  // A part that comes late makes no folder of its own.
  HuggingFacePart late(layout, options.path, DiskOperations::Get());
  EXPECT_THAT(late.Write(0, 1, {1.0f}),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr(options.path)));
  EXPECT_TRUE(std::filesystem::is_empty(root_));
}

}  // namespace
}  // namespace sotto::checkpoint
