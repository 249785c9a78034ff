#include "worker/checkpoint/hugging_face_slices.h"

#include <memory>
#include <vector>

#include "common/base/status_matchers.h"
#include "common/checkpoint/hugging_face_files.h"
#include "common/layout/llama_description.h"
#include "gtest/gtest.h"

namespace sotto::checkpoint {
namespace {

constexpr char kGolden[] = "tests/golden/models/llama_gqa";
constexpr int kFloat = sizeof(float);  // the element type of the golden file

layout::ModelDescription GoldenModel() {
  return *layout::MakeLlamaDescription({.vocabulary_size = 97,
                                        .width = 32,
                                        .layers = 2,
                                        .heads = 4,
                                        .key_value_heads = 2,
                                        .head_width = 8,
                                        .mlp_width = 80,
                                        .max_length = 64});
}

// What the ranks read together is the model, once; none reads more than its shards.
TEST(HuggingFaceSlicesTest, RanksReadTheirSlicesAlone) {
  const layout::ModelDescription model = GoldenModel();
  int64_t model_bytes = 0;
  for (const layout::UnitDescription& unit : model.units) {
    for (const layout::ParameterDescription& parameter : unit.parameters) {
      int64_t elements = 1;
      for (const int64_t extent : parameter.shape) elements *= extent;
      model_bytes += kFloat * elements;
    }
  }
  for (const int ranks : {1, 2, 3, 8}) {
    ASSERT_OK_AND_ASSIGN(const layout::FlatLayout layout, layout::FlatLayout::Create(model, ranks));
    int64_t read = 0;
    for (int rank = 0; rank < ranks; ++rank) {
      ASSERT_OK_AND_ASSIGN(const auto files, HuggingFaceFiles::Open(kGolden));
      ASSERT_OK_AND_ASSIGN(const HuggingFaceWeights weights,
                           HuggingFaceWeights::Match(*files, model));
      EXPECT_EQ(files->bytes_read(), 0);  // Shapes and types stand in the header.
      int64_t shard_bytes = 0;
      for (int unit = 0; unit < layout.num_units(); ++unit) {
        const layout::Interval shard = layout.Shard(unit, rank);
        std::vector<float> values(shard.end - shard.begin);
        shard_bytes += kFloat * (shard.end - shard.begin);
        ASSERT_OK(ReadSlice(weights, model, layout, /*init_seed=*/0, unit, shard.begin,
                            absl::MakeSpan(values)));
      }
      EXPECT_LE(files->bytes_read(), shard_bytes) << "rank " << rank << " of " << ranks;
      read += files->bytes_read();
    }
    EXPECT_EQ(read, model_bytes) << ranks << " ranks";
  }
}

}  // namespace
}  // namespace sotto::checkpoint
