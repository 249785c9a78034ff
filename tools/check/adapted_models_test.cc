// `sotto-check modes` on models that train adapters, biases or a part alone: frozen parameters take
// no part in the oracle's norms and get none of its noise.
#include <string>

#include "common/base/status_matchers.h"
#include "common/spec/spec_parser.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tools/check/mode_comparison.h"
#include "tools/check/mode_report.h"
#include "tools/check/preset.h"

namespace sotto::check {
namespace {

struct AdaptedModel {
  std::string name;
  std::string yaml;
};

class AdaptedModelsTest : public ::testing::TestWithParam<AdaptedModel> {};

#define GPT2 \
  "gpt2: {vocabulary_size: 31, width: 16, layers: 2, heads: 2, max_length: 12, init_stddev: 0.2}"
#define LLAMA                                                                                   \
  "llama: {vocabulary_size: 31, width: 16, layers: 2, heads: 4, hidden_width: 24, max_length: " \
  "12, "                                                                                        \
  "init_stddev: 0.2}"

INSTANTIATE_TEST_SUITE_P(
    Models, AdaptedModelsTest,
    ::testing::Values(
        AdaptedModel{"Lora", "model: {" GPT2 ", adaptation: {lora: {rank: 2}}}"},
        AdaptedModel{"Biases", "model: {" GPT2 ", adaptation: {bias_only: true}}"},
        AdaptedModel{"Frozen", "model: {" GPT2 ", adaptation: {frozen: [\"wte.*\", \"h.0.*\"]}}"},
        AdaptedModel{"LlamaLora", "model: {" LLAMA ", adaptation: {lora: {rank: 3}}}"}),
    [](const auto& info) { return info.param.name; });

TEST_P(AdaptedModelsTest, AgreeWithTheirOracles) {
  ASSERT_OK_AND_ASSIGN(const v1::JobSpec spec,
                       spec::ParseJobSpec(GetParam().yaml, spec::Format::kYaml));
  const Preset preset{.name = "test",
                      .settings = {.model = spec.model(),
                                   .length = 12,
                                   .records = 12,
                                   .batch = 8,
                                   .micro_batch = 3,
                                   .steps = 3,
                                   .learning_rate = 0.2,
                                   .noise_multiplier = 0.01,
                                   .threads = 1},
                      .modes = {{.name = "per_example"}, {.name = "flash"}, {.name = "ghost_bk"}},
                      .reference = "per_example"};
  ASSERT_OK_AND_ASSIGN(const ModeComparison comparison,
                       CompareModes(preset, /*checkpoint_folder=*/"", [](const std::string&) {}));
  EXPECT_THAT(comparison.Disagreeing(), ::testing::IsEmpty()) << ReportText(comparison);
  EXPECT_GT(comparison.outcomes[0].from_oracle->loss.largest, 0);
  EXPECT_GT(comparison.trained_parameters, 0);
  EXPECT_LT(comparison.trained_parameters, comparison.parameters);
}

}  // namespace
}  // namespace sotto::check
