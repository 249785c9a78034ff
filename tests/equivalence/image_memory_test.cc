// The same bounds for models of images and vectors.
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/log.h"
#include "common/dataset/value_file_writer.h"
#include "gtest/gtest.h"
#include "tests/equivalence/memory_bounds.h"
#include "tests/equivalence/training_run.h"

namespace sotto::equivalence {
namespace {

constexpr int32_t kSize = 16;
constexpr int32_t kChannels = 3;
constexpr int32_t kClasses = 4;
constexpr int32_t kExamples = 16;
// Of convolutions, whose passes have temporaries that differ from CPU to CPU: small beside the
// rest.
constexpr int32_t kLargeSize = 32;
constexpr int32_t kManyExamples = 128;

std::string WriteImages(const std::string& path, int32_t size, int64_t records) {
  auto writer = dataset::ValueFileWriter::Create(path, {.value_type = dataset::ValueType::kUint8,
                                                        .shape = {kChannels, size, size},
                                                        .classes = kClasses});
  SOTTO_CHECK_OK(writer.status());
  for (int32_t record = 0; record < records; ++record) {
    std::vector<uint8_t> values(kChannels * size * size);
    for (size_t i = 0; i < values.size(); ++i) values[i] = (31 * i + 17 * record) % 256;
    SOTTO_CHECK_OK(writer->Add(values, record % kClasses, {}));
  }
  auto sha256 = writer->Finish();
  SOTTO_CHECK_OK(sha256.status());
  return *sha256;
}

void ChooseMlp(v1::ModelSpec& model) {
  v1::MlpSpec& mlp = *model.mutable_mlp();
  mlp.set_inputs(kChannels * kSize * kSize);
  mlp.add_hidden_widths(256);
  mlp.add_hidden_widths(128);
  mlp.set_outputs(kClasses);
}

void ChooseVit(v1::ModelSpec& model) {
  v1::VitSpec& vit = *model.mutable_vit();
  vit.set_channels(kChannels);
  vit.set_image_size(kSize);
  vit.set_patch_size(2);
  vit.set_width(48);
  vit.set_layers(3);
  vit.set_heads(4);
  vit.set_outputs(kClasses);
}

void ChooseDit(v1::ModelSpec& model) {
  v1::DitSpec& dit = *model.mutable_dit();
  dit.set_channels(kChannels);
  dit.set_image_size(kSize);
  dit.set_patch_size(2);
  dit.set_width(48);
  dit.set_layers(3);
  dit.set_heads(4);
  dit.set_classes(kClasses);
}

void ChooseCnn(v1::ModelSpec& model) {
  v1::CnnSpec& cnn = *model.mutable_cnn();
  cnn.set_channels(kChannels);
  cnn.set_height(kLargeSize);
  cnn.set_width(kLargeSize);
  cnn.add_stage_channels(16);
  cnn.add_stage_channels(32);
  cnn.set_outputs(kClasses);
}

struct ImageCase {
  std::string name;
  std::string mode;
  void (*choose_model)(v1::ModelSpec& model) = nullptr;
  int32_t size = kSize;
  int32_t examples = kExamples;
};

void PrintTo(const ImageCase& tested, std::ostream* out) { *out << tested.name; }

std::vector<ImageCase> ImageCases() {
  std::vector<ImageCase> cases;
  for (const char* mode : {"no_dp", "ghost", "flash", "flash_bk", "per_example"}) {
    cases.push_back({absl::StrCat("mlp_", mode), mode, ChooseMlp});
    cases.push_back({absl::StrCat("vit_", mode), mode, ChooseVit});
    cases.push_back({absl::StrCat("dit_", mode), mode, ChooseDit});
    cases.push_back({absl::StrCat("cnn_", mode), mode, ChooseCnn, kLargeSize, kManyExamples});
  }
  return cases;
}

class ImageMemoryTest : public ::testing::TestWithParam<ImageCase> {};

TEST_P(ImageMemoryTest, HighWaterMarkIsWithinThePlan) {
  const int32_t size = GetParam().size;
  const int32_t records = 3 * GetParam().examples;
  const std::string directory = *MakeTempDir(absl::StrCat(::testing::TempDir(), "/sotto-"));
  const RunOptions options = {.mode = GetParam().mode,
                              .records = records,
                              .sampling_rate = 0.9,
                              .micro_batch_size = GetParam().examples,
                              .max_length = 3,
                              .choose_model = GetParam().choose_model,
                              .adjust = [&directory, size, records](v1::JobPlan& plan) {
                                v1::DatasetFacts& dataset = *plan.mutable_dataset();
                                dataset.set_path(absl::StrCat(directory, "/images.bin"));
                                dataset.set_sha256(WriteImages(dataset.path(), size, records));
                                plan.mutable_train()->clear_lengths();
                                plan.mutable_train()->add_lengths(1);
                              }};
  const v1::JobPlan plan = MakePlan(directory, options);
  const absl::StatusOr<int64_t> measured = TensorPeakOf(plan, /*end_step=*/2);
  ASSERT_TRUE(measured.ok()) << measured.status();
  ExpectPlanned(GetParam().name, *measured, EstimateOf(plan));
}

INSTANTIATE_TEST_SUITE_P(Cases, ImageMemoryTest, ::testing::ValuesIn(ImageCases()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace sotto::equivalence
