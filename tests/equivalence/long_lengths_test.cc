// Steps on 32768 tokens allocate nothing of T x T values, whichever modes `auto` chooses: no
// tensors, and nothing else that C++ allocates. Modes that take Gram matrices do, and their plan
// says so.
#include <malloc.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <string>
#include <vector>

#include "ATen/Functions.h"
#include "common/base/status_matchers.h"
#include "common/layout/device_profile.h"
#include "common/layout/encoder_description.h"
#include "common/layout/flat_layout.h"
#include "common/layout/gpt2_description.h"
#include "common/layout/image_descriptions.h"
#include "common/layout/llama_description.h"
#include "common/layout/memory.h"
#include "common/layout/mode_choice.h"
#include "gtest/gtest.h"
#include "tests/equivalence/mode_run.h"
#include "worker/memory/tensor_memory.h"

namespace sotto::equivalence {
namespace {

// Bytes that operator new has given out, vectors' among them, and the most since ResetHeapPeak.
std::atomic<int64_t> heap_bytes{0};
std::atomic<int64_t> heap_peak_bytes{0};

void AddHeap(void* memory) {
  const auto bytes = static_cast<int64_t>(malloc_usable_size(memory));
  const int64_t live = heap_bytes.fetch_add(bytes) + bytes;
  int64_t peak = heap_peak_bytes.load();
  while (live > peak && !heap_peak_bytes.compare_exchange_weak(peak, live)) {
  }
}

void RemoveHeap(void* memory) {
  if (memory != nullptr) heap_bytes -= static_cast<int64_t>(malloc_usable_size(memory));
}

}  // namespace
}  // namespace sotto::equivalence

// new[] and the forms that do not throw call this one.
void* operator new(size_t bytes) {
  void* const memory = std::malloc(bytes > 0 ? bytes : 1);
  if (memory == nullptr) throw std::bad_alloc();
  sotto::equivalence::AddHeap(memory);
  return memory;
}

void operator delete(void* memory) noexcept {
  sotto::equivalence::RemoveHeap(memory);
  std::free(memory);
}

void operator delete(void* memory, size_t) noexcept { operator delete(memory); }

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

layout::ModelDescription Encoder(int64_t length) {
  return *layout::MakeEncoderDescription({.vocabulary_size = kVocabulary,
                                          .width = 8,
                                          .layers = 1,
                                          .heads = 2,
                                          .max_length = length,
                                          .classes = 3});
}

// As long as two thirds of `length`, then padding.
models::MicroBatch LabelledBatch(int64_t length) {
  models::MicroBatch batch = MakeMicroBatch(1, length, kVocabulary, /*seed=*/4);
  batch.loss_mask_BT.zero_();
  batch.labels_B = at::ones({1}, at::kLong);
  batch.token_mask_BT = at::ones({1, length});
  batch.token_mask_BT.narrow(1, length * 2 / 3, length - length * 2 / 3).zero_();
  return batch;
}

constexpr int64_t kSide = 128;  // pixels, each a patch: a sequence of 16384, and a class token

models::MicroBatch ImageBatch() {
  return {.tokens_BT = at::zeros({1, 1}, at::kLong),
          .loss_mask_BT = at::zeros({1, 1}),
          .example_ids = {0},
          .labels_B = at::ones({1}, at::kLong),
          .values_BCHW = at::linspace(-1, 1, kSide * kSide).view({1, 1, kSide, kSide})};
}

// Bytes that tensors have asked for beyond what they held, and operator new likewise, at most.
class Peaks {
 public:
  Peaks() : heap_begin_(heap_bytes.load()) {
    heap_peak_bytes.store(heap_begin_);
    memory::ResetTensorPeak();
  }

  int64_t Bytes() const { return memory::TensorPeakBytes() + heap_peak_bytes.load() - heap_begin_; }

 private:
  const int64_t heap_begin_;
};

// The most that a step of one example holds at once: an upper bound, since tensors and the rest
// may peak at different moments.
int64_t PeakOf(const layout::ModelDescription& description, const ModeOptions& mode,
               const models::MicroBatch& batch) {
  const TestModel model = MakeTestModel(description, /*stddev=*/0.1, /*seed=*/3);
  ModeRun run(model, mode, /*max_examples=*/1);
  const Peaks peaks;
  run.Run(batch);
  return peaks.Bytes();
}

int64_t SquareBytes(int64_t length) { return length * length * int64_t{sizeof(float)}; }

void ExpectNoSquare(const layout::ModelDescription& description, const std::string& mode,
                    int64_t length) {
  const models::MicroBatch batch = MakeMicroBatch(1, length, kVocabulary, /*seed=*/4);
  EXPECT_LT(PeakOf(description, {.mode = mode}, batch), SquareBytes(length) / 16) << mode;
}

TEST(LongLengthsTest, PlainTraining) { ExpectNoSquare(Llama(kLong), "no_dp", kLong); }

TEST(LongLengthsTest, TiledNormsInTwoPasses) { ExpectNoSquare(Llama(kLong), "flash", kLong); }

TEST(LongLengthsTest, HeldGradients) { ExpectNoSquare(Llama(kLong), "per_example", kLong); }

// The cross term of embedding and head is of all pairs of positions.
TEST(LongLengthsTest, NormsOfATiedHead) {
  ExpectNoSquare(Gpt2(kLong / 2, true), "flash_bk", kLong / 2);
}

TEST(LongLengthsTest, AnEncoderOverPaddedTokens) {
  EXPECT_LT(PeakOf(Encoder(kLong), {.mode = "flash"}, LabelledBatch(kLong)),
            SquareBytes(kLong) / 16);
}

TEST(LongLengthsTest, APictureOfManyPatches) {
  const layout::ModelDescription vit =
      *layout::MakeVitDescription({.grid = {.channels = 1, .image_size = kSide, .patch_size = 1},
                                   .width = 8,
                                   .layers = 1,
                                   .heads = 2,
                                   .outputs = 3});
  for (const std::string mode : {"flash", "per_example"}) {
    EXPECT_LT(PeakOf(vit, {.mode = mode}, ImageBatch()), SquareBytes(kSide * kSide) / 16) << mode;
  }
}

std::string NameOf(const layout::UnitMode& mode) {
  for (const layout::NamedMode& named : layout::kGradientModes) {
    if (named.mode == mode) return std::string(named.name);
  }
  return "";
}

// On devices whose rates, or memory, lead to each kind of kept value.
TEST(LongLengthsTest, WhateverAutoChooses) {
  struct Case {
    double hold_bytes;
    layout::Kept kept;
    bool only_two_passes_fit;
  };
  const layout::ModelDescription model = Llama(kLong);
  const models::MicroBatch batch = MakeMicroBatch(1, kLong, kVocabulary, /*seed=*/4);
  const auto bytes = [](const layout::ModeChoice& choice) {
    return int64_t{choice.mode.kept == layout::Kept::kActivations ? 1 : 2};
  };
  for (const auto& [hold_bytes, kept, only_two_passes_fit] :
       {Case{1e15, layout::Kept::kExampleGrads, false}, Case{1, layout::Kept::kOutputGrads, false},
        Case{1e15, layout::Kept::kActivations, true}}) {
    layout::DeviceProfile profile = layout::TypicalDeviceProfile();
    profile.hold_bytes = profile.fold_bytes = hold_bytes;
    ASSERT_OK_AND_ASSIGN(const layout::ModeChoice choice,
                         layout::ChooseMode(model,
                                            {.length = kLong,
                                             .largest_micro_batch_size = 1,
                                             .memory_limit_bytes = only_two_passes_fit ? 1 : 2},
                                            profile, bytes));
    bool keeps = choice.mode.kept == kept;
    for (const auto& unit : choice.layer_modes) {
      for (const layout::UnitMode& mode : unit) keeps |= mode.kept == kept;
    }
    EXPECT_TRUE(keeps) << static_cast<int>(kept);
    EXPECT_LT(
        PeakOf(model, {.mode = NameOf(choice.mode), .layer_modes = choice.layer_modes}, batch),
        SquareBytes(kLong) / 16)
        << NameOf(choice.mode);
  }
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
  const Peaks of_tensors;
  at::empty({4096, 4096});
  EXPECT_GE(of_tensors.Bytes(), SquareBytes(4096));
  const Peaks of_vectors;
  EXPECT_EQ(std::vector<float>(4096 * 4096).back(), 0);
  EXPECT_GE(of_vectors.Bytes(), SquareBytes(4096));
}

// Planned tensors of a rank, whose step takes one example on each of two threads.
int64_t PlannedBytes(const layout::ModelDescription& description, const std::string& mode,
                     int64_t length) {
  const layout::FlatLayout layout = *layout::FlatLayout::Create(description, /*world_size=*/1);
  return layout::EstimateMemory(description, layout,
                                {.mode = *layout::FindMode(mode),
                                 .micro_batch_size = 2,
                                 .longest_length = length,
                                 .threads_per_rank = 2})
      .tensor_bytes();
}

// What the other modes do without: two matrices on each thread. The plan has them, so that a job
// that they do not fit is refused.
TEST(LongLengthsTest, GramMatricesArePlanned) {
  for (const std::string mode : {"ghost", "ghost_bk"}) {
    EXPECT_GE(PlannedBytes(Llama(kLong), mode, kLong), 2 * 2 * SquareBytes(kLong)) << mode;
  }
  for (const std::string mode : {"flash", "flash_bk", "per_example"}) {
    EXPECT_LT(PlannedBytes(Llama(kLong), mode, kLong), SquareBytes(kLong) / 16) << mode;
  }
}

// At a length that a test can afford, the mark is where the plan says: the matrices are tensors,
// and no vector holds another.
TEST(LongLengthsTest, GramMatricesAreTensorsOfThePlannedSize) {
  constexpr int64_t kShorter = 2048;
  const models::MicroBatch batch = MakeMicroBatch(1, kShorter, kVocabulary, /*seed=*/4);
  for (const std::string mode : {"ghost", "ghost_bk"}) {
    const int64_t peak = PeakOf(Llama(kShorter), {.mode = mode}, batch);
    EXPECT_GE(peak, 2 * SquareBytes(kShorter)) << mode;
    EXPECT_LT(peak, 3 * SquareBytes(kShorter)) << mode;
  }
}

}  // namespace
}  // namespace sotto::equivalence

int main(int argc, char** argv) {
  sotto::memory::CountTensors();
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
