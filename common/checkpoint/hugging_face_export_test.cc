#include "common/checkpoint/hugging_face_export.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/base/status_matchers.h"
#include "common/checkpoint/checkpoint_writer.h"
#include "common/checkpoint/half_floats.h"
#include "common/checkpoint/hugging_face_files.h"
#include "common/checkpoint/hugging_face_writer.h"
#include "common/checkpoint/safetensors_reader.h"

namespace sotto::checkpoint {
namespace {

using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

constexpr int64_t kAlignment = 32;

// A tensor to put into a checkpoint, under the model's own name.
struct Tensor {
  std::string name;
  std::vector<int64_t> shape;
  std::vector<float> values;
};

class HuggingFaceExportTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(folder_, MakeTempDir(::testing::TempDir() + "/export-"));
  }
  void TearDown() override {
    std::filesystem::remove_all(folder_);
    std::filesystem::remove_all(out_);
  }

  // The tensors as one flat unit of two ranks, with padding between them, as trained models are
  // stored.
  absl::StatusOr<std::unique_ptr<Checkpoint>> Save(const std::vector<Tensor>& tensors,
                                                   const v1::ModelSpec& model = {}) {
    v1::CheckpointManifest manifest;
    manifest.set_step(++saved_);
    manifest.set_attempt(1);
    manifest.set_world_size(2);
    *manifest.mutable_model() = model;
    v1::CheckpointUnit& unit = *manifest.add_units();
    unit.set_name("root");
    std::vector<float> flat;
    for (const Tensor& tensor : tensors) {
      v1::CheckpointTensor& message = *unit.add_tensors();
      message.set_name(tensor.name);
      message.mutable_shape()->Add(tensor.shape.begin(), tensor.shape.end());
      message.set_offset(static_cast<int64_t>(flat.size()));
      flat.insert(flat.end(), tensor.values.begin(), tensor.values.end());
      while (flat.size() % kAlignment != 0) flat.push_back(0);
    }
    unit.set_padded_elements(static_cast<int64_t>(flat.size()));
    const size_t shard = flat.size() / 2;
    for (int rank = 0; rank < 2; ++rank) {
      RETURN_IF_ERROR(
          WriteShardFile(folder_ + "/root", {saved_, 1}, rank, 2,
                         {{"root", "master", absl::MakeSpan(flat).subspan(rank * shard, shard)}}));
    }
    ASSIGN_OR_RETURN(const std::string directory, CommitCheckpoint(folder_ + "/root", manifest));
    return Checkpoint::Open(directory);
  }

  HuggingFaceExportOptions Options(const std::string& model_type = "llama") const {
    return {.directory = out_, .config = "{}\n", .model_type = model_type};
  }

  // Everything in the exported directory, by name.
  std::map<std::string, std::vector<float>> ReadExported() const {
    std::map<std::string, std::vector<float>> values;
    const auto files = HuggingFaceFiles::Open(out_);
    EXPECT_OK(files.status());
    if (!files.ok()) return values;
    for (const auto& [name, tensor] : (*files)->tensors()) {
      values[name].resize(tensor.entry->num_elements());
      EXPECT_OK(ReadAsFloats(tensor, 0, absl::MakeSpan(values[name])));
    }
    return values;
  }

  std::string folder_;
  std::string out_ = ::testing::TempDir() + "/exported-model";
  int64_t saved_ = 0;
};

class GoldenExportTest : public HuggingFaceExportTest,
                         public ::testing::WithParamInterface<const char*> {};

TEST_P(GoldenExportTest, GivesBackTheModelByteForByte) {
  ASSERT_OK_AND_ASSIGN(const auto golden,
                       SafetensorsReader::Open(
                           absl::StrCat("tests/golden/models/", GetParam(), "/model.safetensors")));
  const std::string model_type = absl::StartsWith(GetParam(), "gpt2") ? "gpt2" : "llama";
  std::vector<Tensor> tensors;
  for (const SafetensorsEntry& entry : golden->header().entries) {
    absl::string_view name = entry.name;
    absl::ConsumePrefix(&name, model_type == "gpt2" ? "transformer." : "model.");
    Tensor& tensor = tensors.emplace_back(Tensor{std::string(name), entry.shape});
    tensor.values.resize(entry.num_elements());
    ASSERT_OK(golden->ReadFloats(entry.name, 0, absl::MakeSpan(tensor.values)));
  }
  ASSERT_OK_AND_ASSIGN(const auto checkpoint, Save(tensors));
  EXPECT_THAT(ExportHuggingFace(*checkpoint, Options(model_type)),
              IsOkAndHolds(golden->header().entries.size()));
  ASSERT_OK_AND_ASSIGN(const auto exported, SafetensorsReader::Open(out_ + "/model.safetensors"));
  EXPECT_THAT(exported->header().entries, SizeIs(golden->header().entries.size()));
  for (const SafetensorsEntry& entry : golden->header().entries) {
    const SafetensorsEntry* same = exported->Find(entry.name);
    ASSERT_NE(same, nullptr) << entry.name;
    EXPECT_EQ(same->shape, entry.shape) << entry.name;
    EXPECT_EQ(same->dtype, entry.dtype) << entry.name;
    EXPECT_EQ(exported->Bytes(*same), golden->Bytes(entry)) << entry.name;
  }
  EXPECT_THAT(ReadFile(out_ + "/config.json"), IsOkAndHolds("{}\n"));
  EXPECT_THAT(ExportHuggingFace(*checkpoint, Options(model_type)),
              StatusIs(absl::StatusCode::kAlreadyExists));
  // A rename cannot replace a link: said before anything is written.
  std::filesystem::remove_all(out_);
  std::filesystem::create_symlink("nowhere", out_);
  EXPECT_THAT(ExportHuggingFace(*checkpoint, Options(model_type)),
              StatusIs(absl::StatusCode::kAlreadyExists, HasSubstr("is a link")));
}

INSTANTIATE_TEST_SUITE_P(Models, GoldenExportTest, ::testing::Values("gpt2_tied", "llama_gqa"),
                         [](const auto& info) { return std::string(info.param); });

// W + (alpha / rank) B A with rank 2, alpha 3: the factor is 1.5.
TEST_F(HuggingFaceExportTest, AdaptersAreMerged) {
  v1::ModelSpec model;
  model.mutable_llama();
  model.mutable_adaptation()->mutable_lora()->set_rank(2);
  model.mutable_adaptation()->mutable_lora()->set_alpha(3);
  const Tensor weight{"layers.0.mlp.up_proj.weight", {2, 3}, {1, 2, 3, 4, 5, 6}};
  const Tensor down{"layers.0.mlp.up_proj.lora_A.weight", {2, 3}, {1, 0, 2, 0, 1, 1}};
  const Tensor up{"layers.0.mlp.up_proj.lora_B.weight", {2, 2}, {2, 0, -1, 4}};
  ASSERT_OK_AND_ASSIGN(const auto checkpoint, Save({weight, down, up}, model));
  EXPECT_THAT(ExportHuggingFace(*checkpoint, Options()), IsOkAndHolds(1));
  EXPECT_THAT(ReadExported(), UnorderedElementsAre(Pair("model.layers.0.mlp.up_proj.weight",
                                                        std::vector<float>{4, 2, 9, 2.5, 11, 9})));
}

// GPT-2's weights are [inputs, outputs]: the same product, transposed. Without an alpha the factor
// is 1.
TEST_F(HuggingFaceExportTest, AdaptersOfTransposedWeightsAreMerged) {
  v1::ModelSpec model;
  model.mutable_gpt2();
  model.mutable_adaptation()->mutable_lora()->set_rank(1);
  const Tensor weight{"h.0.mlp.c_fc.weight", {3, 2}, {1, 2, 3, 4, 5, 6}};
  const Tensor down{"h.0.mlp.c_fc.lora_A.weight", {1, 3}, {1, 2, 3}};
  const Tensor up{"h.0.mlp.c_fc.lora_B.weight", {2, 1}, {10, -1}};
  ASSERT_OK_AND_ASSIGN(const auto checkpoint, Save({weight, down, up}, model));
  EXPECT_THAT(ExportHuggingFace(*checkpoint, Options("gpt2")), IsOkAndHolds(1));
  EXPECT_THAT(ReadExported(), UnorderedElementsAre(Pair("transformer.h.0.mlp.c_fc.weight",
                                                        std::vector<float>{11, 1, 23, 2, 35, 3})));
}

TEST_F(HuggingFaceExportTest, AdaptersThatDoNotFitAreNamedAndNothingIsLeft) {
  const Tensor weight{"a.weight", {2, 3}, std::vector<float>(6)};
  const Tensor down{"a.lora_A.weight", {1, 3}, std::vector<float>(3)};
  const Tensor up{"a.lora_B.weight", {2, 1}, std::vector<float>(2)};
  const Tensor wide{"a.lora_B.weight", {3, 1}, std::vector<float>(3)};
  const std::map<std::string, std::vector<Tensor>> cases = {
      {"a.lora_B.weight", {weight, down}},
      {"a.lora_A.weight", {weight, up}},
      {"a.weight is missing", {down, up}},
      {"a.weight does", {weight, down, wide}}};
  for (const auto& [message, tensors] : cases) {
    ASSERT_OK_AND_ASSIGN(const auto checkpoint, Save(tensors));
    EXPECT_THAT(ExportHuggingFace(*checkpoint, Options()),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(message)));
    EXPECT_FALSE(std::filesystem::exists(out_));
  }
}

TEST_F(HuggingFaceExportTest, FilesAreDividedAndIndexed) {
  std::vector<Tensor> tensors;
  for (const char* name : {"a", "b", "c", "large", "d"}) {
    const int64_t size = std::string(name) == "large" ? 100 : 10;
    tensors.push_back({name, {size}, std::vector<float>(size, static_cast<float>(name[0]))});
  }
  ASSERT_OK_AND_ASSIGN(const auto checkpoint, Save(tensors));
  HuggingFaceExportOptions options = Options();
  options.max_file_bytes = 80;  // Two small ones; the large one stands alone.
  ASSERT_OK(ExportHuggingFace(*checkpoint, options).status());
  for (const char* name : {"model-00001-of-00004.safetensors", "model-00004-of-00004.safetensors",
                           "model.safetensors.index.json", "config.json"}) {
    EXPECT_TRUE(std::filesystem::exists(absl::StrCat(out_, "/", name))) << name;
  }
  EXPECT_THAT(ReadFile(out_ + "/model.safetensors.index.json"),
              IsOkAndHolds(HasSubstr("\"total_size\": 560")));
  const auto exported = ReadExported();
  ASSERT_THAT(exported, SizeIs(5));
  for (const Tensor& tensor : tensors) {
    EXPECT_EQ(exported.at("model." + tensor.name), tensor.values) << tensor.name;
  }
}

TEST_F(HuggingFaceExportTest, HalvesAreRounded) {
  const std::vector<float> values = {1.0f, 1.00390625f, -3.1415927f, 1e-30f, 0.0f};
  ASSERT_OK_AND_ASSIGN(const auto checkpoint, Save({{"a", {5}, values}}));
  for (const char* dtype : {"BF16", "F16"}) {
    std::filesystem::remove_all(out_);
    HuggingFaceExportOptions options = Options();
    options.dtype = dtype;
    ASSERT_OK(ExportHuggingFace(*checkpoint, options).status());
    ASSERT_OK_AND_ASSIGN(const auto reader, SafetensorsReader::Open(out_ + "/model.safetensors"));
    EXPECT_EQ(reader->header().entries[0].dtype, dtype);
    const std::vector<float> exported = ReadExported().at("model.a");
    for (size_t i = 0; i < values.size(); ++i) {
      EXPECT_EQ(exported[i], std::string(dtype) == "F16"
                                 ? FloatOfFloat16(Float16OfFloat(values[i]))
                                 : FloatOfBfloat16(Bfloat16OfFloat(values[i])));
    }
  }
}

TEST_F(HuggingFaceExportTest, WithoutFinishNothingIsLeft) {
  {
    ASSERT_OK_AND_ASSIGN(const auto writer,
                         HuggingFaceWriter::Create({.directory = out_}, {{"a", {2}}}));
    ASSERT_OK(writer->Append({1.0f}));
    EXPECT_THAT(writer->Append({1.0f, 2.0f}), StatusIs(absl::StatusCode::kInvalidArgument));
    EXPECT_THAT(writer->Finish(), StatusIs(absl::StatusCode::kFailedPrecondition));
  }
  for (const auto& entry : std::filesystem::directory_iterator(::testing::TempDir())) {
    EXPECT_THAT(entry.path().string(), ::testing::Not(HasSubstr("exported-model")));
  }
}

}  // namespace
}  // namespace sotto::checkpoint
