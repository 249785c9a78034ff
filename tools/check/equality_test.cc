// sotto-check equality on a small model. Ranks are processes of this test's own executable.
#include "tools/check/equality_check.h"

#include <limits>
#include <string>
#include <vector>

#include "common/base/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tools/check/equality_report.h"

namespace sotto::check {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

EqualityOptions SmallOptions() {
  EqualityOptions options{
      .settings = {.length = 6, .records = 6, .micro_batch = 2, .steps = 3, .learning_rate = 1e-2},
      .world_sizes = {1, 2, 3}};
  v1::LlamaSpec& llama = *options.settings.model.mutable_llama();
  llama.set_vocabulary_size(11);
  llama.set_width(8);
  llama.set_layers(1);
  llama.set_heads(2);
  llama.set_hidden_width(12);
  llama.set_max_length(6);
  return options;
}

void Ignore(const std::string&) {}

EqualityRow SoundRow() {
  return {.world_size = 2,
          .largest_difference = 2e-6,
          .largest_scaled_difference = 1e-6,
          .largest_norm_difference = 1e-5,
          .first_loss = 4,
          .last_loss = 0.4,
          .ideal_shard_bytes = 1000,
          .shard_bytes = 1000,
          .planned_held_bytes = 1500,
          .held_bytes = 1500 + 8192,
          .planned_tensor_bytes = 20000,
          .tensor_peak_bytes = 20000};
}

TEST(EqualityTest, WorldSizesAgreeWithAndWithoutClipping) {
  for (const char* mode : {"no_dp", "flash"}) {
    SCOPED_TRACE(mode);
    EqualityOptions options = SmallOptions();
    options.mode.name = mode;
    ASSERT_OK_AND_ASSIGN(EqualityReport report, CompareEquality(options, Ignore));
    ASSERT_EQ(report.rows.size(), 3);
    EXPECT_THAT(EqualityText(report), HasSubstr("the loss falls"));  // Three steps are too few.
    report.limits.loss_fall = 1;
    EXPECT_TRUE(report.Agrees()) << EqualityText(report);
    EXPECT_TRUE(EqualityJson(report)["agrees"]);
    EXPECT_THAT(EqualityText(report), HasSubstr("all 3 world sizes agree"));
  }
}

TEST(EqualityTest, ShardsShrinkWithTheWorldAndPaddingIsCounted) {
  EqualityOptions options = SmallOptions();
  ASSERT_OK_AND_ASSIGN(const EqualityReport report, CompareEquality(options, Ignore));
  for (const EqualityRow& row : report.rows) {
    // Parameters, gradient and AdamW's two moments, fp32.
    const int64_t elements = report.widest.train().parameters() + row.padding_elements;
    EXPECT_EQ(row.shard_bytes * row.world_size, 4 * 4 * elements);
    EXPECT_EQ(row.shard_bytes, row.ideal_shard_bytes);
    EXPECT_GE(row.held_bytes, row.planned_held_bytes);
    EXPECT_GT(row.tensor_peak_bytes, row.held_bytes);
  }
  int64_t padded = 0;
  for (const v1::UnitPlan& unit : report.widest.sharding().units()) {
    EXPECT_EQ(unit.padded_elements() % (32 * 3), 0) << unit.name();
    padded += unit.padded_elements();
  }
  const EqualityRow& widest = report.rows.back();
  EXPECT_EQ(padded, report.widest.train().parameters() + widest.padding_elements);
  EXPECT_GT(widest.padding_elements, report.rows.front().padding_elements);
}

TEST(EqualityTest, RecordsThatCannotBeDealtOutEvenlyAreRefused) {
  for (const int records : {5, 4}) {
    EqualityOptions options = SmallOptions();
    options.settings.records = records;
    EXPECT_THAT(CompareEquality(options, Ignore),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("--records")));
  }
}

TEST(EqualityTest, OneWorldSizeIsNothingToCompare) {
  for (const std::vector<int>& world_sizes : {std::vector<int>{2}, {2, 2}}) {
    EqualityOptions options = SmallOptions();
    options.world_sizes = world_sizes;
    EXPECT_THAT(CompareEquality(options, Ignore),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("--world_sizes")));
  }
}

TEST(EqualityRowTest, EachLimitIsHeld) {
  const EqualityLimits limits;
  EXPECT_EQ(SoundRow().Fault(limits), "");
  const double nan = std::numeric_limits<double>::quiet_NaN();
  struct Case {
    const char* says;
    void (*change)(EqualityRow& row, double value);
    std::vector<double> values;
  };
  const Case cases[] = {
      {"parameter",
       [](EqualityRow& r, double v) { r.largest_scaled_difference = v; },
       {1.1e-6, nan}},
      {"norm", [](EqualityRow& r, double v) { r.largest_norm_difference = v; }, {1.1e-5, nan}},
      {"loss", [](EqualityRow& r, double v) { r.last_loss = v; }, {0.41, nan}},
      {"distinct", [](EqualityRow& r, double) { r.differing_parameters = 1; }, {1}},
      {"padding", [](EqualityRow& r, double) { r.nonzero_padding = 1; }, {1}},
      {"equal part", [](EqualityRow& r, double) { r.shard_bytes = 1001; }, {1}},
      {"fewer", [](EqualityRow& r, double) { r.held_bytes = 999; }, {1}},
      {"hold 9693 bytes", [](EqualityRow& r, double) { r.held_bytes = 9693; }, {1}},
      {"at once", [](EqualityRow& r, double) { r.tensor_peak_bytes = 20001; }, {1}},
  };
  for (const Case& c : cases) {
    for (const double value : c.values) {
      EqualityRow row = SoundRow();
      c.change(row, value);
      EXPECT_THAT(row.Fault(limits), HasSubstr(c.says));
      EqualityReport report{.rows = {SoundRow(), row}};
      EXPECT_FALSE(report.Agrees());
      EXPECT_THAT(EqualityText(report), HasSubstr("DIFFERS: 2 ranks"));
      EXPECT_THAT(EqualityText(report), Not(HasSubstr("agree")));
    }
  }
}

}  // namespace
}  // namespace sotto::check
