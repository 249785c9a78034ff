// Whole trainings on images: the same bits at every world size, the same model under every
// strategy, and something learned.
#include <iostream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/log.h"
#include "common/dataset/value_file_writer.h"
#include "gtest/gtest.h"
#include "tests/equivalence/run_comparison.h"
#include "tests/equivalence/training_run.h"
#include "worker/comm/testing/rank_processes.h"

namespace sotto::equivalence {
namespace {

constexpr int32_t kSize = 4;
constexpr int32_t kClasses = 3;
constexpr int64_t kRecords = 40;

// Images of three classes, each with a bright row of its own; the target is the class as a number.
std::string WriteImages(const std::string& path) {
  auto writer = dataset::ValueFileWriter::Create(path, {.value_type = dataset::ValueType::kUint8,
                                                        .shape = {1, kSize, kSize},
                                                        .classes = kClasses,
                                                        .targets = 1});
  SOTTO_CHECK_OK(writer.status());
  for (int32_t i = 0; i < kRecords; ++i) {
    const int32_t label = i % kClasses;
    std::vector<uint8_t> values;
    for (int32_t pixel = 0; pixel < kSize * kSize; ++pixel) {
      const bool is_bright = pixel / kSize == label;
      values.push_back(static_cast<uint8_t>((is_bright ? 200 : 40) + (7 * i + 3 * pixel) % 40));
    }
    SOTTO_CHECK_OK(writer->Add(values, label, std::vector<float>{static_cast<float>(label)}));
  }
  auto sha256 = writer->Finish();
  SOTTO_CHECK_OK(sha256.status());
  return *sha256;
}

struct Case {
  std::string name;
  void (*choose_model)(v1::ModelSpec& model);
};

void ChooseMlp(v1::ModelSpec& model) {
  v1::MlpSpec& mlp = *model.mutable_mlp();
  mlp.set_inputs(kSize * kSize);
  mlp.add_hidden_widths(12);
  mlp.add_hidden_widths(8);
  mlp.set_outputs(kClasses);
}

void ChooseRegression(v1::ModelSpec& model) {
  ChooseMlp(model);
  model.mutable_mlp()->set_outputs(1);
  model.mutable_mlp()->set_loss(v1::MEAN_SQUARED_ERROR);
}

void ChooseCnn(v1::ModelSpec& model) {
  v1::CnnSpec& cnn = *model.mutable_cnn();
  cnn.set_channels(1);
  cnn.set_height(kSize);
  cnn.set_width(kSize);
  cnn.add_stage_channels(4);
  cnn.add_stage_channels(8);
  cnn.set_groups(2);
  cnn.set_outputs(kClasses);
}

void ChooseVit(v1::ModelSpec& model) {
  v1::VitSpec& vit = *model.mutable_vit();
  vit.set_channels(1);
  vit.set_image_size(kSize);
  vit.set_patch_size(2);
  vit.set_width(8);
  vit.set_layers(2);
  vit.set_heads(2);
  vit.set_outputs(kClasses);
  vit.set_init_stddev(0.2);
}

void ChooseDit(v1::ModelSpec& model) {
  v1::DitSpec& dit = *model.mutable_dit();
  dit.set_channels(1);
  dit.set_image_size(kSize);
  dit.set_patch_size(2);
  dit.set_width(8);
  dit.set_layers(2);
  dit.set_heads(2);
  dit.set_classes(kClasses);
  dit.set_time_steps(20);
  dit.set_init_stddev(0.2);
}

struct World {
  int ranks = 1;
  std::string strategy = "FULL_SHARD";
  double sgd_learning_rate = 0;  // 0: AdamW
};

RunOptions OptionsOf(const Case& tested, const World& world, const std::string& directory) {
  return {.world_size = world.ranks,
          .mode = "flash_bk",
          .strategy = world.strategy,
          .shard_group_size = 2,
          .noise_multiplier = 0.01,
          .records = kRecords,
          .clip_norm = 1,
          .sgd_learning_rate = world.sgd_learning_rate,
          .max_length = 3,
          .choose_model = tested.choose_model,
          .adjust = [directory, world](v1::JobPlan& plan) {
            v1::DatasetFacts& dataset = *plan.mutable_dataset();
            dataset.set_path(absl::StrCat(directory, "/images.bin"));
            dataset.set_sha256(WriteImages(dataset.path()));
            plan.mutable_train()->clear_lengths();
            plan.mutable_train()->add_lengths(1);
            if (world.sgd_learning_rate > 0) return;
            plan.mutable_spec()->mutable_train()->mutable_learning_rate()->set_peak(2e-2);
          }};
}

RunResult TrainIn(const Case& tested, const World& world) {
  const std::string directory = *MakeTempDir(absl::StrCat(testing::TempDir(), "/sotto-"));
  return Train(directory, OptionsOf(tested, world, directory));
}

class ImageTrainingTest : public testing::TestWithParam<Case> {};

TEST_P(ImageTrainingTest, RanksChangeNoBitAndTheLossFalls) {
  const RunResult one = TrainIn(GetParam(), {.ranks = 1});
  ASSERT_TRUE(one.succeeded);
  ASSERT_EQ(one.losses.size(), 10);
  EXPECT_LT(one.losses.back(), one.losses.front());
  for (int world_size : {2, 3}) {
    const RunResult many = TrainIn(GetParam(), {.ranks = world_size});
    ASSERT_TRUE(many.succeeded) << world_size;
    EXPECT_EQ(Differences(many.parameters, one.parameters), 0) << world_size << " ranks";
  }
}

// SGD, because AdamW divides the rounding of parameters without a true gradient by itself. The
// strategies add the same numbers in another order: |d| <= 1e-6 max(1, |w|) after ten steps.
TEST_P(ImageTrainingTest, EveryStrategyEndsAtTheSameModel) {
  constexpr double kTolerance = 1e-6;
  const RunResult one = TrainIn(GetParam(), {.sgd_learning_rate = 0.1});
  ASSERT_TRUE(one.succeeded);
  EXPECT_LT(one.losses.back(), one.losses.front());
  for (const std::string strategy : {"SHARD_GRAD_OP", "HYBRID_SHARD", "NO_SHARD"}) {
    for (int ranks : {2, 4}) {
      const World world = {.ranks = ranks, .strategy = strategy, .sgd_learning_rate = 0.1};
      const RunResult run = TrainIn(GetParam(), world);
      ASSERT_TRUE(run.succeeded) << strategy << " on " << ranks << " ranks";
      const double difference = LargestDifference(run.parameters, one.parameters);
      std::cout << strategy << " on " << ranks << " ranks: " << difference << std::endl;
      EXPECT_LE(difference, kTolerance) << strategy << " on " << ranks << " ranks";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Families, ImageTrainingTest,
                         testing::Values(Case{"Mlp", ChooseMlp},
                                         Case{"Regression", ChooseRegression},
                                         Case{"Cnn", ChooseCnn}, Case{"Vit", ChooseVit},
                                         Case{"Dit", ChooseDit}),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace sotto::equivalence

int main(int argc, char** argv) { return sotto::comm::RankTestMain(argc, argv); }
