// Steps on 32768 tokens allocate nothing of T x T values.
#include <cstdint>
#include <string>

#include "ATen/ops/empty.h"
#include "common/layout/gpt2_description.h"
#include "common/layout/llama_description.h"
#include "gtest/gtest.h"
#include "tests/equivalence/mode_run.h"
#include "worker/memory/tensor_memory.h"

namespace sotto::equivalence {
namespace {

constexpr int64_t kLong = 32768;
constexpr int64_t kVocabulary = 29;

layout::ModelDescription Gpt2(int64_t length, bool tied) {
  return *layout::MakeGpt2Description({.vocabulary_size = kVocabulary,
                                       .width = 8,
                                       .layers = 1,
                                       .heads = 1,
                                       .max_length = length,
                                       .tied_head = tied});
}

layout::ModelDescription Llama(int64_t length) {
  return *layout::MakeLlamaDescription({.vocabulary_size = kVocabulary,
                                        .width = 8,
                                        .layers = 1,
                                        .heads = 2,
                                        .key_value_heads = 1,
                                        .head_width = 4,
                                        .mlp_width = 16,
                                        .max_length = length});
}

// The most that a step of one example of `length` tokens holds at once.
int64_t PeakOf(const layout::ModelDescription& description, const std::string& mode,
               int64_t length) {
  const TestModel model = MakeTestModel(description, /*stddev=*/0.1, /*seed=*/3);
  const models::MicroBatch batch = MakeMicroBatch(1, length, kVocabulary, /*seed=*/4);
  ModeRun run(model, {.mode = mode}, /*max_examples=*/1);
  memory::ResetTensorPeak();
  run.Run(batch);
  return memory::TensorPeakBytes();
}

int64_t SquareBytes(int64_t length) { return length * length * int64_t{sizeof(float)}; }

void ExpectNoSquare(const layout::ModelDescription& description, const std::string& mode,
                    int64_t length) {
  EXPECT_LT(PeakOf(description, mode, length), SquareBytes(length) / 16) << mode;
}

TEST(LongLengthsTest, PlainTraining) { ExpectNoSquare(Llama(kLong), "no_dp", kLong); }

TEST(LongLengthsTest, TiledNormsInTwoPasses) { ExpectNoSquare(Llama(kLong), "flash", kLong); }

TEST(LongLengthsTest, HeldGradients) { ExpectNoSquare(Llama(kLong), "per_example", kLong); }

// The cross term of embedding and head is of all pairs of positions.
TEST(LongLengthsTest, NormsOfATiedHead) {
  ExpectNoSquare(Gpt2(kLong / 2, true), "flash_bk", kLong / 2);
}

// Three examples of up to 40 tokens of a vocabulary of 29, against the norms of their own
// gradients.
TEST(LongLengthsTest, NormsOfATiedHeadHoldWhereTheVocabularyIsSmall) {
  const TestModel model = MakeTestModel(Gpt2(40, true), /*stddev=*/0.3, /*seed=*/3);
  const models::MicroBatch batch = MakeMicroBatch(3, 40, kVocabulary, /*seed=*/4);
  ModeRun own(model, {.mode = "per_example"}, /*max_examples=*/3);
  own.Run(batch);
  for (const std::string mode : {"flash", "flash_bk", "ghost"}) {
    ModeRun run(model, {.mode = mode}, /*max_examples=*/3);
    run.Run(batch);
    for (int64_t b = 0; b < 3; ++b) {
      const double expected = own.norm_sq_B().const_data_ptr<double>()[b];
      EXPECT_NEAR(run.norm_sq_B().const_data_ptr<double>()[b], expected, 1e-5 * expected) << mode;
    }
  }
}

TEST(LongLengthsTest, ASquareWouldBeSeen) {
  memory::ResetTensorPeak();
  at::empty({4096, 4096});
  EXPECT_GE(memory::TensorPeakBytes(), SquareBytes(4096));
}

}  // namespace
}  // namespace sotto::equivalence

int main(int argc, char** argv) {
  sotto::memory::CountTensors();
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
