#include "common/checkpoint/hugging_face_export.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <vector>

#include "common/base/files.h"
#include "common/base/status_matchers.h"
#include "common/checkpoint/checkpoint_writer.h"
#include "common/checkpoint/safetensors_reader.h"

namespace sotto::checkpoint {
namespace {

using ::testing::HasSubstr;

constexpr char kGolden[] = "tests/golden/models/gpt2_tied/model.safetensors";
constexpr int64_t kAlignment = 32;

// The golden model as one flat unit, with padding between tensors, as trained models are stored.
struct FlatModel {
  std::vector<float> values;
  v1::CheckpointUnit unit;
};

absl::StatusOr<FlatModel> Flatten(const SafetensorsReader& golden) {
  FlatModel model;
  model.unit.set_name("root");
  for (const SafetensorsEntry& entry : golden.header().entries) {
    v1::CheckpointTensor& tensor = *model.unit.add_tensors();
    tensor.set_name(entry.name.substr(std::string("transformer.").size()));
    tensor.mutable_shape()->Add(entry.shape.begin(), entry.shape.end());
    tensor.set_offset(model.values.size());
    model.values.resize(model.values.size() + entry.num_elements());
    RETURN_IF_ERROR(
        golden.ReadFloats(entry.name, 0, absl::MakeSpan(model.values).subspan(tensor.offset())));
    while (model.values.size() % kAlignment != 0) model.values.push_back(0);
  }
  model.unit.set_padded_elements(model.values.size());
  return model;
}

class HuggingFaceExportTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(folder_, MakeTempDir(::testing::TempDir() + "/export-"));
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string folder_;
};

TEST_F(HuggingFaceExportTest, GivesBackTheModelByteForByte) {
  ASSERT_OK_AND_ASSIGN(const auto golden, SafetensorsReader::Open(kGolden));
  ASSERT_OK_AND_ASSIGN(const FlatModel model, Flatten(*golden));
  v1::CheckpointManifest manifest;
  manifest.set_step(1);
  manifest.set_attempt(1);
  manifest.set_world_size(2);
  *manifest.add_units() = model.unit;
  v1::Gpt2Spec& gpt2 = *manifest.mutable_model()->mutable_gpt2();
  gpt2.set_vocabulary_size(97);
  gpt2.set_width(32);
  gpt2.set_layers(2);
  gpt2.set_heads(4);
  gpt2.set_max_length(32);
  const int64_t shard = model.values.size() / 2;
  for (int rank = 0; rank < 2; ++rank) {
    ASSERT_OK(WriteShardFile(
        folder_ + "/root", {1, 1}, rank, 2,
        {{"root", "master", absl::MakeSpan(model.values).subspan(rank * shard, shard)}}));
  }
  ASSERT_OK_AND_ASSIGN(const std::string directory,
                       CommitCheckpoint(folder_ + "/root", manifest, 1));
  ASSERT_OK_AND_ASSIGN(const auto checkpoint, Checkpoint::Open(directory));

  const std::string out = folder_ + "/out";
  EXPECT_THAT(ExportHuggingFace(*checkpoint, out), IsOkAndHolds(golden->header().entries.size()));
  ASSERT_OK_AND_ASSIGN(const auto exported, SafetensorsReader::Open(out + "/model.safetensors"));
  for (const SafetensorsEntry& entry : golden->header().entries) {
    const SafetensorsEntry* same = exported->Find(entry.name);
    ASSERT_NE(same, nullptr) << entry.name;
    EXPECT_EQ(same->shape, entry.shape) << entry.name;
    EXPECT_EQ(exported->Bytes(*same), golden->Bytes(entry)) << entry.name;
  }
  EXPECT_THAT(ReadFile(out + "/config.json"), IsOkAndHolds(HasSubstr("\"n_layer\": 2")));
  EXPECT_THAT(ExportHuggingFace(*checkpoint, out), StatusIs(absl::StatusCode::kAlreadyExists));
}

TEST_F(HuggingFaceExportTest, OtherFamiliesHaveNoForm) {
  EXPECT_THAT(HuggingFaceConfig(v1::ModelSpec()), StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace sotto::checkpoint
