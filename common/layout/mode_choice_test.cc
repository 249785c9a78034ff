#include "common/layout/mode_choice.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "common/base/status_matchers.h"
#include "common/layout/gpt2_description.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sotto::layout {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kMebibyte = int64_t{1} << 20;

// Products and Gram matrices at the same speed, memory so fast or slow that it decides.
DeviceProfile Profile(double bytes_per_second, double gram_flops = 100e9) {
  return {.threads = 2,
          .product_flops = 100e9,
          .example_products = {{16, 100e9}, {512, 100e9}},
          .gram_flops = gram_flops,
          .hold_bytes = bytes_per_second,
          .fold_bytes = bytes_per_second,
          .scale_bytes = 20e9,
          .normals = 1e9,
          .updates = 1e9};
}

ModelDescription Model() {
  auto model = MakeGpt2Description({.vocabulary_size = 1000,
                                    .width = 256,
                                    .layers = 2,
                                    .heads = 4,
                                    .max_length = 1024,
                                    .tied_head = false});
  EXPECT_OK(model.status());
  return *std::move(model);
}

// Held gradients are the largest, two passes the smallest.
int64_t Bytes(const ModeChoice& choice) {
  const int64_t weight = choice.mode.kept == Kept::kActivations   ? 1
                         : choice.mode.kept == Kept::kOutputGrads ? 2
                                                                  : 4;
  return weight * choice.micro_batch_size * kMebibyte;
}

absl::StatusOr<ModeChoice> Choose(const DeviceProfile& profile, int64_t length, int64_t limit = 0) {
  return ChooseMode(Model(),
                    {.length = length, .largest_micro_batch_size = 8, .memory_limit_bytes = limit},
                    profile, Bytes);
}

TEST(ModeChoiceTest, FastMemoryHoldsGradients) {
  ASSERT_OK_AND_ASSIGN(const ModeChoice choice, Choose(Profile(1e15), /*length=*/512));
  EXPECT_EQ(choice.mode, *FindMode("per_example"));
  EXPECT_TRUE(choice.layer_modes.empty());
  EXPECT_EQ(choice.micro_batch_size, 8);
}

TEST(ModeChoiceTest, SlowMemoryAndShortRecordsKeepBooks) {
  ASSERT_OK_AND_ASSIGN(const ModeChoice choice, Choose(Profile(1e8), /*length=*/16));
  ASSERT_FALSE(choice.layer_modes.empty());
  const ModelDescription model = Model();
  for (size_t unit = 1; unit < model.units.size(); ++unit) {
    for (size_t i = 0; i < model.units[unit].layers.size(); ++i) {
      if (model.units[unit].layers[i].kind != LayerKind::kLinear) continue;
      EXPECT_EQ(choice.layer_modes[unit][i].kept, Kept::kOutputGrads)
          << model.units[unit].layers[i].name;
    }
  }
}

TEST(ModeChoiceTest, ChosenTimeIsTheLeastOfEveryModeAtThatSize) {
  for (double bytes : {1e9, 1e10, 1e11}) {
    for (int64_t length : {16, 64, 128, 512}) {
      ASSERT_OK_AND_ASSIGN(const ModeChoice choice, Choose(Profile(bytes), length));
      for (const NamedMode& entry : kGradientModes) {
        if (entry.mode.norm == Norm::kNone) continue;
        ASSERT_OK_AND_ASSIGN(
            const ModeChoice fixed,
            PredictMode(Model(), entry.mode, {}, length, choice.micro_batch_size, Profile(bytes)));
        EXPECT_LE(choice.extra_seconds, fixed.extra_seconds * (1 + 1e-12))
            << entry.name << " at T=" << length << " and " << bytes;
      }
    }
  }
}

TEST(ModeChoiceTest, MemoryLimitShrinksMicroBatchesBeforeItFails) {
  ASSERT_OK_AND_ASSIGN(const ModeChoice choice,
                       Choose(Profile(1e15), /*length=*/512, 4 * kMebibyte));
  EXPECT_LE(choice.memory_bytes, 4 * kMebibyte);
  EXPECT_EQ(choice.memory_bytes, Bytes(choice));
  EXPECT_THAT(Choose(Profile(1e15), /*length=*/512, kMebibyte / 2),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("1048576")));
}

// What each layer keeps: its gradients, or its inputs and output gradients.
int64_t BytesByLayer(const ModeChoice& choice, int64_t length) {
  const ModelDescription model = Model();
  int64_t values = 0;
  for (size_t unit = 0; unit < model.units.size(); ++unit) {
    for (size_t i = 0; i < model.units[unit].layers.size(); ++i) {
      const LayerDescription& layer = model.units[unit].layers[i];
      if (layer.kind != LayerKind::kLinear) continue;
      const UnitMode& mode = choice.layer_modes.empty() ? choice.mode : choice.layer_modes[unit][i];
      const int64_t rows = layer.Rows(length);
      values += mode.kept == Kept::kExampleGrads  ? layer.inputs * layer.outputs
                : mode.kept == Kept::kActivations ? rows
                : layer.in_last_stage             ? rows * layer.inputs
                                                  : rows * (layer.inputs + layer.outputs);
    }
  }
  return 4 * choice.micro_batch_size * values;
}

// Gradients that are held fit but for a little: only some layers keep books instead, those that
// save the most bytes for a second, and micro-batches stay as large.
TEST(ModeChoiceTest, LayersMoveToBooksUntilMemoryFits) {
  constexpr int64_t kLength = 16;
  const ModelDescription model = Model();
  const DeviceProfile profile = Profile(1e15);
  const auto bytes_of = [](const ModeChoice& choice) { return BytesByLayer(choice, kLength); };
  const auto choose = [&](int64_t limit) {
    return *ChooseMode(
        model, {.length = kLength, .largest_micro_batch_size = 8, .memory_limit_bytes = limit},
        profile, bytes_of);
  };
  const ModeChoice held = choose(0);
  ASSERT_EQ(held.mode, *FindMode("per_example"));
  ASSERT_TRUE(held.layer_modes.empty());
  ASSERT_OK_AND_ASSIGN(const ModeChoice books,
                       PredictMode(model, *FindMode("flash_bk"), {}, kLength, 8, profile));
  int moved_before = 0;
  for (double share : {0.999999, 0.9, 0.6, 0.4}) {
    SCOPED_TRACE(share);
    const auto limit = static_cast<int64_t>(share * static_cast<double>(held.memory_bytes));
    const ModeChoice choice = choose(limit);
    EXPECT_LE(choice.memory_bytes, limit);
    EXPECT_EQ(choice.memory_bytes, bytes_of(choice));
    EXPECT_EQ(choice.micro_batch_size, 8);
    EXPECT_EQ(choice.mode, held.mode);
    ASSERT_EQ(choice.layer_modes.size(), model.units.size());
    int moved = 0;
    int kept = 0;
    double worst_moved = std::numeric_limits<double>::infinity();  // bytes for a second
    double best_kept = 0;
    for (size_t unit = 0; unit < model.units.size(); ++unit) {
      for (size_t i = 0; i < model.units[unit].layers.size(); ++i) {
        const LayerDescription& layer = model.units[unit].layers[i];
        const bool is_moved = choice.layer_modes[unit][i] == *FindMode("flash_bk");
        EXPECT_EQ(choice.layer_modes[unit][i], is_moved ? *FindMode("flash_bk") : held.mode);
        if (layer.kind != LayerKind::kLinear) {
          EXPECT_FALSE(is_moved) << layer.name;  // Nothing to save.
          continue;
        }
        const int64_t books_of_row =
            layer.in_last_stage ? layer.inputs : layer.inputs + layer.outputs;
        const double bytes =
            4.0 * 8 * static_cast<double>(layer.inputs * layer.outputs - kLength * books_of_row);
        const double ratio = bytes / (books.layer_seconds[unit][i] - held.layer_seconds[unit][i]);
        (is_moved ? moved : kept) += 1;
        if (is_moved) worst_moved = std::min(worst_moved, ratio);
        if (!is_moved) best_kept = std::max(best_kept, ratio);
      }
    }
    EXPECT_GT(moved, 0);
    EXPECT_GT(kept, 0);
    EXPECT_GE(moved, moved_before);
    EXPECT_TRUE(moved_before > 0 || moved == 1) << moved;  // One is enough for a little.
    EXPECT_GE(worst_moved, best_kept * (1 - 1e-12));
    moved_before = moved;
    EXPECT_EQ(choose(limit).layer_modes, choice.layer_modes);  // The same every time.
  }
  EXPECT_GT(moved_before, 1);
}

TEST(ModeChoiceTest, FixedMicroBatchIsNotShrunk) {
  const ModeChoiceOptions options = {.length = 128,
                                     .largest_micro_batch_size = 8,
                                     .fixed_micro_batch_size = true,
                                     .memory_limit_bytes = 8 * kMebibyte};
  ASSERT_OK_AND_ASSIGN(const ModeChoice choice, ChooseMode(Model(), options, Profile(1e15), Bytes));
  EXPECT_EQ(choice.micro_batch_size, 8);
  EXPECT_EQ(choice.mode, *FindMode("flash"));  // the only one that fits
}

TEST(ModeChoiceTest, LayerSecondsAddUp) {
  ASSERT_OK_AND_ASSIGN(const ModeChoice held,
                       PredictMode(Model(), *FindMode("per_example"), {}, 128, 4, Profile(1e10)));
  double sum = 0;
  for (const auto& unit : held.layer_seconds) {
    for (double seconds : unit) sum += seconds;
  }
  EXPECT_NEAR(sum, held.extra_seconds, 1e-12);
  EXPECT_GT(held.matrix_seconds, 0);
  ASSERT_OK_AND_ASSIGN(const ModeChoice none,
                       PredictMode(Model(), *FindMode("no_dp"), {}, 128, 4, Profile(1e10)));
  EXPECT_EQ(none.extra_seconds, 0);
}

// Rates of a busy machine.
TEST(ModeChoiceTest, ClippingNeverGivesTimeBack) {
  DeviceProfile profile = Profile(1e15);
  profile.example_products = {{16, 300e9}, {512, 300e9}};
  ASSERT_OK_AND_ASSIGN(const ModeChoice choice, Choose(profile, /*length=*/512));
  for (const std::vector<double>& unit : choice.layer_seconds) {
    for (const double seconds : unit) EXPECT_GE(seconds, 0);
  }
  EXPECT_GE(choice.extra_seconds, 0);
}

TEST(ModeChoiceTest, FrozenLayersCostNothing) {
  ModelDescription model = Model();
  for (ParameterDescription& parameter : model.units[1].parameters) parameter.trainable = false;
  ASSERT_OK_AND_ASSIGN(const ModeChoice choice,
                       PredictMode(model, *FindMode("per_example"), {}, 128, 4, Profile(1e10)));
  EXPECT_THAT(choice.layer_seconds[1], ::testing::Each(0));
}

// The worker forms column sums alone where a weight is frozen: every mode costs the same.
TEST(ModeChoiceTest, FrozenWeightsCostTheirBiasesAlone) {
  ASSERT_OK_AND_ASSIGN(const ModeChoice full, Choose(Profile(1e8), /*length=*/16));
  EXPECT_FALSE(full.layer_modes.empty());
  ModelDescription model = Model();
  for (UnitDescription& unit : model.units) {
    for (ParameterDescription& parameter : unit.parameters) {
      parameter.trainable = parameter.name.ends_with(".bias");
    }
  }
  ASSERT_OK_AND_ASSIGN(
      const ModeChoice choice,
      ChooseMode(model, {.length = 16, .largest_micro_batch_size = 8}, Profile(1e8), Bytes));
  EXPECT_EQ(choice.mode, *FindMode("per_example"));
  EXPECT_TRUE(choice.layer_modes.empty());
  EXPECT_EQ(choice.micro_batch_size, full.micro_batch_size);
  // The forward product and the input gradient, without the weight gradient.
  EXPECT_NEAR(choice.matrix_seconds, full.matrix_seconds * 2 / 3, 1e-9 * full.matrix_seconds);
  for (const char* mode : {"per_example", "flash_bk", "ghost"}) {
    ASSERT_OK_AND_ASSIGN(const ModeChoice fixed,
                         PredictMode(model, *FindMode(mode), {}, 128, 4, Profile(1e10)));
    for (size_t unit = 0; unit < model.units.size(); ++unit) {
      for (size_t i = 0; i < model.units[unit].layers.size(); ++i) {
        const LayerDescription& layer = model.units[unit].layers[i];
        const bool has_bias = layer.parameters.size() > 1;
        const double column_sums = 4.0 * 4 * 128 * static_cast<double>(layer.outputs) / 20e9;
        EXPECT_DOUBLE_EQ(fixed.layer_seconds[unit][i], has_bias ? column_sums : 0)
            << mode << ", " << layer.name;
      }
    }
  }
}

TEST(ModeChoiceTest, IncompleteProfilesAreRefused) {
  DeviceProfile profile = Profile(1e10);
  profile.fold_bytes = 0;
  EXPECT_THAT(Choose(profile, 128), StatusIs(absl::StatusCode::kInvalidArgument));
  profile = Profile(1e10);
  profile.example_products = {{64, 1e9}, {16, 1e9}};
  EXPECT_FALSE(profile.IsComplete());
  EXPECT_TRUE(TypicalDeviceProfile().IsComplete());
}

TEST(DeviceProfileTest, ProductRatesAreLinearInTheReciprocal) {
  DeviceProfile profile = Profile(1e10);
  profile.example_products = {{16, 50e9}, {64, 100e9}};
  EXPECT_DOUBLE_EQ(profile.ProductFlops(16), 50e9);
  EXPECT_DOUBLE_EQ(profile.ProductFlops(64), 100e9);
  EXPECT_DOUBLE_EQ(profile.ProductFlops(1024), 100e9);
  EXPECT_DOUBLE_EQ(profile.ProductFlops(8), 25e9);
  // 1/32 lies a third of the way from 1/64 to 1/16.
  EXPECT_NEAR(1e9 / profile.ProductFlops(32), 1.0 / 50 / 3 + 2.0 / 100 / 3, 1e-12);
}

}  // namespace
}  // namespace sotto::layout
