#include "worker/data/record_loader.h"

#include <string>

#include "common/base/status_matchers.h"
#include "common/dataset/token_file_writer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sotto::data {
namespace {

using ::testing::ElementsAre;

class RecordLoaderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string path = ::testing::TempDir() + "/record_loader_test";
    dataset::TokenFileWriter::Options options;
    options.max_length = 6;
    ASSERT_OK_AND_ASSIGN(dataset::TokenFileWriter writer,
                         dataset::TokenFileWriter::Create(path, options));
    ASSERT_OK(writer.Add({1, 2, 3}, {1, 0, 1}));
    ASSERT_OK(writer.Add({4, 5, 6, 7, 8, 9}, {}));
    ASSERT_OK(writer.Finish());
    ASSERT_OK_AND_ASSIGN(file_, dataset::TokenFile::Open(path));
  }

  std::unique_ptr<dataset::TokenFile> file_;
};

std::vector<int64_t> RowOfTokens(const LoadedMicroBatch& batch, int64_t row) {
  const int64_t length = batch.tokens_BT.size(1);
  const int64_t* data = batch.tokens_BT.data_ptr<int64_t>() + row * length;
  return {data, data + length};
}

std::vector<float> RowOfMask(const LoadedMicroBatch& batch, int64_t row) {
  const int64_t length = batch.loss_mask_BT.size(1);
  const float* data = batch.loss_mask_BT.data_ptr<float>() + row * length;
  return {data, data + length};
}

TEST_F(RecordLoaderTest, PadsRowsAndFillsWithDummies) {
  const RecordLoader loader(*file_, /*micro_batch_size=*/3);
  const LoadedMicroBatch batch = loader.Load({.ids = {1, 0}, .padded_length = 8});
  EXPECT_THAT(batch.example_ids, ElementsAre(1, 0, -1));
  EXPECT_THAT(RowOfTokens(batch, 0), ElementsAre(4, 5, 6, 7, 8, 9, 0, 0));
  EXPECT_THAT(RowOfMask(batch, 0), ElementsAre(0, 1, 1, 1, 1, 1, 0, 0));
  EXPECT_THAT(RowOfTokens(batch, 1), ElementsAre(1, 2, 3, 0, 0, 0, 0, 0));
  EXPECT_THAT(RowOfMask(batch, 1), ElementsAre(0, 0, 1, 0, 0, 0, 0, 0));
  EXPECT_THAT(RowOfMask(batch, 2), ElementsAre(0, 0, 0, 0, 0, 0, 0, 0));
}

TEST_F(RecordLoaderTest, LongRecordsAreTruncated) {
  const RecordLoader loader(*file_, /*micro_batch_size=*/1);
  const LoadedMicroBatch batch = loader.Load({.ids = {1}, .padded_length = 4});
  EXPECT_THAT(RowOfTokens(batch, 0), ElementsAre(4, 5, 6, 7));
  EXPECT_THAT(RowOfMask(batch, 0), ElementsAre(0, 1, 1, 1));
}

TEST_F(RecordLoaderTest, LengthsAreThoseOfTheRecords) {
  const RecordLoader loader(*file_, 1);
  EXPECT_THAT(loader.Lengths({1, 0, 1}), ElementsAre(6, 3, 6));
}

}  // namespace
}  // namespace sotto::data
