// Micro-batches of images and vectors, and what is drawn for each of their examples.
#include <string>
#include <vector>

#include "ATen/Functions.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_matchers.h"
#include "common/dataset/token_file.h"
#include "common/dataset/value_file_writer.h"
#include "gtest/gtest.h"
#include "worker/data/example_draws.h"
#include "worker/data/record_loader.h"

namespace sotto::data {
namespace {

class ValueLoaderTest : public testing::Test {
 protected:
  ValueLoaderTest() {
    dataset::ValueFileWriter writer =
        *dataset::ValueFileWriter::Create(path_, {.value_type = dataset::ValueType::kFloat32,
                                                  .shape = {2, 2, 3},
                                                  .classes = 3,
                                                  .targets = 2});
    for (int i = 0; i < 3; ++i) {
      const std::vector<float> values(12, static_cast<float>(i));
      EXPECT_OK(writer.Add(values, i, std::vector<float>{10.0f * i, 1}));
    }
    EXPECT_OK(writer.Finish().status());
    file_ = *dataset::TokenFile::Open(path_);
  }

  LoadedMicroBatch Load(std::vector<int64_t> ids, int32_t size) const {
    return RecordLoader(*file_, size).Load({.ids = std::move(ids), .padded_length = 1});
  }

  const std::string path_ = absl::StrCat(testing::TempDir(), "/values");
  std::unique_ptr<dataset::TokenFile> file_;
};

TEST_F(ValueLoaderTest, DummiesAreZerosWithoutALabel) {
  const LoadedMicroBatch batch = Load({2, 0}, 3);
  EXPECT_EQ(batch.example_ids, (std::vector<int64_t>{2, 0, -1}));
  EXPECT_TRUE(at::equal(batch.labels_B, at::tensor({2, 0, -1}, at::kLong)));
  EXPECT_TRUE(at::equal(batch.values_BCHW[0], at::full({2, 2, 3}, 2.0f)));
  EXPECT_TRUE(at::equal(batch.values_BCHW[2], at::zeros({2, 2, 3})));
  EXPECT_TRUE(
      at::equal(batch.targets_BK, at::tensor({20.0f, 1.0f, 0.0f, 1.0f, 0.0f, 0.0f}).view({3, 2})));
  EXPECT_TRUE(at::equal(batch.tokens_BT, at::zeros({3, 1}, at::kLong)));
  EXPECT_FALSE(batch.token_mask_BT.defined());
}

TEST_F(ValueLoaderTest, DrawsFollowRecordAndStepAndNothingElse) {
  const ExampleDraws draws(crypto::Secret::FromPublicSeed(7), /*time_steps=*/1000);
  LoadedMicroBatch together = Load({0, 1, 2}, 4);
  LoadedMicroBatch alone = Load({2}, 1);
  draws.Draw(5, together);
  draws.Draw(5, alone);
  EXPECT_TRUE(at::equal(together.noise_BCHW[2], alone.noise_BCHW[0]));
  EXPECT_TRUE(at::equal(together.time_steps_B[2], alone.time_steps_B[0]));
  EXPECT_EQ(together.noise_BCHW[3].abs().sum().item<float>(), 0) << "of the dummy";
  EXPECT_FALSE(at::equal(together.noise_BCHW[0], together.noise_BCHW[1]));
  LoadedMicroBatch next = Load({2}, 1);
  draws.Draw(6, next);
  EXPECT_FALSE(at::equal(next.noise_BCHW, alone.noise_BCHW));
  LoadedMicroBatch other = Load({2}, 1);
  ExampleDraws(crypto::Secret::FromPublicSeed(8), 1000).Draw(5, other);
  EXPECT_FALSE(at::equal(other.noise_BCHW, alone.noise_BCHW));
}

}  // namespace
}  // namespace sotto::data
