// Jobs that do not train, against the golden models, under every strategy and world size.
#include "worker/infer/inference.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "ATen/ops/zeros.h"
#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status_matchers.h"
#include "common/spec/model_layout.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/inference/golden_model.h"
#include "tests/inference/inference_run.h"
#include "worker/comm/solo_communicator.h"
#include "worker/infer/sharded_model.h"
#include "worker/infer/text_groups.h"
#include "worker/train/initial_weights.h"

namespace sotto::inference {
namespace {

using Json = nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr double kTolerance = 1e-5;
constexpr int64_t kNewTokens = 12;

class InferenceTest : public testing::Test {
 protected:
  InferenceTest() : folder_(*MakeTempDir(testing::TempDir() + "/inference-")) {}
  ~InferenceTest() override { std::filesystem::remove_all(folder_); }

  v1::InferenceSpec SpecWith(const std::string& prompts) {
    v1::InferenceSpec spec;
    spec.set_prompt_file(folder_ + "/prompts.jsonl");
    spec.set_output(absl::StrCat(folder_, "/out-", next_output_++));
    EXPECT_OK(AtomicWriteFile(spec.prompt_file(), prompts));
    return spec;
  }

  // Seven prompts of 1 to 7 tokens: two groups, the second one not full.
  static std::string Prompts(const GoldenModel& golden) {
    std::string lines;
    for (int64_t i = 0; i < 7; ++i) {
      const std::vector<int64_t>& row = golden.tokens_BT[i % golden.tokens_BT.size()];
      lines += PromptLine({row.begin() + i, row.begin() + 2 * i + 1});
    }
    return lines;
  }

  v1::InferenceSpec GenerateSpec(const GoldenModel& golden) {
    v1::InferenceSpec spec = SpecWith(Prompts(golden));
    spec.mutable_generate()->set_max_new_tokens(kNewTokens);
    return spec;
  }

  // The output after a run that must be OK.
  std::string Run(const std::string& model, v1::InferenceSpec spec, const Ranks& ranks = {}) {
    spec.set_output(absl::StrCat(folder_, "/out-", next_output_++));
    EXPECT_OK(RunOnRanks(PlanOf(model, spec, ranks)));
    return std::filesystem::is_regular_file(spec.output()) ? *ReadFile(spec.output())
                                                           : spec.output();
  }

  static std::vector<Json> Lines(const std::string& text) {
    std::vector<Json> lines;
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);) lines.push_back(Json::parse(line));
    return lines;
  }

  const std::string folder_;
  int next_output_ = 0;
};

double LogProbability(const double* logits, int64_t vocabulary, int64_t token) {
  const double largest = *std::max_element(logits, logits + vocabulary);
  double sum = 0;
  for (int64_t v = 0; v < vocabulary; ++v) sum += std::exp(logits[v] - largest);
  return logits[token] - largest - std::log(sum);
}

TEST_F(InferenceTest, ScoresAreThoseOfTheReferenceUnderEveryStrategy) {
  for (const char* model : kGoldenModels) {
    const GoldenModel golden(model);
    std::string prompts;
    for (size_t b = 0; b < golden.tokens_BT.size(); ++b) {
      const std::vector<int64_t>& row = golden.tokens_BT[b];
      prompts += PromptLine({row.begin(), row.begin() + b + 1}, {row.begin() + b + 1, row.end()});
    }
    v1::InferenceSpec spec = SpecWith(prompts);
    spec.mutable_score();
    std::string unsharded;
    for (const Ranks& ranks : kAllRanks) {
      SCOPED_TRACE(absl::StrCat(model, " ", Describe(ranks)));
      const std::string output = Run(model, spec, ranks);
      if (unsharded.empty()) unsharded = output;
      EXPECT_EQ(output, unsharded);  // Bit for bit.
    }
    const std::vector<Json> lines = Lines(unsharded);
    ASSERT_EQ(lines.size(), golden.tokens_BT.size());
    for (size_t b = 0; b < lines.size(); ++b) {
      EXPECT_EQ(lines[b]["prompt"], b);
      const auto scores = lines[b]["token_log_probabilities"].get<std::vector<double>>();
      ASSERT_EQ(scores.size(), golden.shape[1] - b - 1);
      double sum = 0;
      for (size_t i = 0; i < scores.size(); ++i) {
        const size_t t = b + 1 + i;
        const double expected =
            LogProbability(golden.Logits(b, t - 1), golden.shape[2], golden.tokens_BT[b][t]);
        EXPECT_NEAR(scores[i], expected, kTolerance) << b << " " << t;
        sum += scores[i];
      }
      EXPECT_NEAR(lines[b]["log_probability"], sum, 1e-12 * scores.size());
    }
  }
}

// A model on one rank, read without caches.
class Unsharded {
 public:
  explicit Unsharded(const std::string& directory) {
    const v1::JobPlan plan = PlanOf(directory, {}, {});
    model_ = *infer::ShardedModel::Create(
        {.description = *spec::DescribeModel(plan.spec().model())}, communicator_);
    EXPECT_OK(train::LoadHuggingFace(directory, /*init_seed=*/0, model_->parameters()));
  }

  infer::ShardedModel& model() { return *model_; }

  // The likeliest token after `text`, which is read from its begin.
  int64_t Next(const std::vector<int32_t>& text) {
    models::InferenceBatch batch = infer::PadTexts({text});
    int64_t token = -1;
    EXPECT_OK(model_->forward().Begin(/*passes=*/1));
    EXPECT_OK(model_->forward().Run(
        {batch}, [](size_t, int, const at::Tensor&) {},
        [&](size_t, int64_t, const at::Tensor& logits) {
          const int64_t vocabulary = logits.size(1);
          const float* last = logits.const_data_ptr<float>() + logits.numel() - vocabulary;
          token = std::max_element(last, last + vocabulary) - last;
        }));
    return token;
  }

 private:
  comm::SoloCommunicator communicator_;
  std::unique_ptr<infer::ShardedModel> model_;
};

TEST_F(InferenceTest, CachedKeysAndValuesGiveTheTokensThatReadingAllAgainGives) {
  for (const char* model : kGoldenModels) {
    SCOPED_TRACE(model);
    const GoldenModel golden(model);
    const v1::InferenceSpec spec = GenerateSpec(golden);
    const std::vector<Json> lines = Lines(Run(model, spec));
    const std::vector<Json> prompts = Lines(*ReadFile(spec.prompt_file()));
    ASSERT_EQ(lines.size(), prompts.size());
    Unsharded unsharded(model);
    for (size_t i = 0; i < lines.size(); ++i) {
      auto text = prompts[i]["tokens"].get<std::vector<int32_t>>();
      const size_t length = text.size();
      for (int64_t n = 0; n < kNewTokens; ++n) {
        text.push_back(static_cast<int32_t>(unsharded.Next(text)));
      }
      EXPECT_EQ(lines[i]["prompt"], i);
      EXPECT_EQ(lines[i]["tokens"].get<std::vector<int32_t>>(),
                std::vector<int32_t>(text.begin() + length, text.end()));
      EXPECT_EQ(lines[i]["ended_by"], "max_new_tokens");
    }
  }
}

// The last new token takes the model's last position; one more is refused.
TEST_F(InferenceTest, TextsMayFillThePositions) {
  const GoldenModel golden(kGoldenModels[0]);  // It reads 32 tokens.
  const std::vector<int64_t>& row = golden.tokens_BT[0];
  v1::InferenceSpec spec =
      SpecWith(PromptLine({row.begin(), row.begin() + 7}) + PromptLine({row[0]}));
  spec.mutable_generate()->set_max_new_tokens(25);
  const std::vector<Json> lines = Lines(Run(golden.directory, spec));
  const std::vector<Json> prompts = Lines(*ReadFile(spec.prompt_file()));
  Unsharded unsharded(golden.directory);
  for (size_t i = 0; i < prompts.size(); ++i) {
    auto text = prompts[i]["tokens"].get<std::vector<int32_t>>();
    const size_t length = text.size();
    for (int n = 0; n < 25; ++n) text.push_back(static_cast<int32_t>(unsharded.Next(text)));
    EXPECT_EQ(lines[i]["tokens"].get<std::vector<int32_t>>(),
              std::vector<int32_t>(text.begin() + length, text.end()));
  }
  spec.mutable_generate()->set_max_new_tokens(26);
  spec.set_output(folder_ + "/too-long");
  EXPECT_THAT(RunOnRanks(PlanOf(golden.directory, spec, {})),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("reads 32 at most")));
}

TEST_F(InferenceTest, TextsDependOnNeitherStrategyNorWorldSizeNorBatchSize) {
  for (const char* model : kGoldenModels) {
    for (const double temperature : {0.0, 1.0}) {
      v1::InferenceSpec spec = GenerateSpec(GoldenModel(model));
      spec.mutable_generate()->set_temperature(temperature);
      spec.mutable_generate()->set_top_k(50);
      spec.mutable_generate()->set_top_p(0.95);
      spec.mutable_generate()->set_seed(7);
      const std::string expected = Run(model, spec);
      for (const Ranks& ranks : kAllRanks) {
        for (const int batch_size : {1, 8, 100}) {
          SCOPED_TRACE(
              absl::StrCat(model, " ", temperature, " ", Describe(ranks), " ", batch_size));
          spec.set_batch_size(batch_size);
          EXPECT_EQ(Run(model, spec, ranks), expected);
        }
      }
    }
  }
}

TEST_F(InferenceTest, SeedsAndPromptsDecideTheDraws) {
  const GoldenModel golden(kGoldenModels[0]);
  const std::vector<int64_t>& row = golden.tokens_BT[0];
  v1::InferenceSpec spec = SpecWith(PromptLine({row[0], row[1]}) + PromptLine({row[0], row[1]}));
  spec.mutable_generate()->set_max_new_tokens(kNewTokens);
  spec.mutable_generate()->set_temperature(1);
  const std::vector<Json> first = Lines(Run(golden.directory, spec));
  spec.mutable_generate()->set_seed(1);
  const std::vector<Json> second = Lines(Run(golden.directory, spec));
  EXPECT_NE(first[0]["tokens"], first[1]["tokens"]);
  EXPECT_NE(first[0]["tokens"], second[0]["tokens"]);
}

TEST_F(InferenceTest, TextsEndBeforeAStopToken) {
  const GoldenModel golden(kGoldenModels[1]);
  v1::InferenceSpec spec = GenerateSpec(golden);
  const std::vector<Json> whole = Lines(Run(golden.directory, spec));
  const auto tokens = whole[0]["tokens"].get<std::vector<int32_t>>();
  const int32_t stop = tokens[3];
  const auto first = std::find(tokens.begin(), tokens.end(), stop);
  spec.mutable_generate()->add_stop_tokens(stop);
  const std::vector<Json> stopped = Lines(Run(golden.directory, spec, {v1::FULL_SHARD, 2}));
  EXPECT_EQ(stopped[0]["tokens"].get<std::vector<int32_t>>(),
            std::vector<int32_t>(tokens.begin(), first));
  EXPECT_EQ(stopped[0]["ended_by"], "stop_token");
  for (size_t i = 1; i < whole.size(); ++i) {
    const auto all = whole[i]["tokens"].get<std::vector<int32_t>>();
    EXPECT_EQ(stopped[i]["tokens"].get<std::vector<int32_t>>(),
              std::vector<int32_t>(all.begin(), std::find(all.begin(), all.end(), stop)));
  }
}

// The outputs of the stages as training runs them, one text at a time.
std::vector<at::Tensor> StageOutputs(infer::ShardedModel& model, const std::vector<int32_t>& text) {
  auto layers = *models::Model::Create(model.description(), {});
  const models::MicroBatch batch{.tokens_BT = infer::PadTexts({text}).tokens_BT,
                                 .loss_mask_BT = at::zeros({1, static_cast<int64_t>(text.size())}),
                                 .example_ids = {0}};
  std::vector<at::Tensor> outputs;
  at::Tensor flow;
  for (size_t stage = 0; stage + 1 < layers->stages().size(); ++stage) {
    const int unit = model.description().stages[stage];
    const int slot = std::min(unit, 1);
    EXPECT_OK(model.parameters().Gather(unit, slot));
    flow = layers->stages()[stage]->Forward(model.parameters().ParameterViews(unit, slot), batch,
                                            flow);
    outputs.push_back(flow);
  }
  return outputs;
}

TEST_F(InferenceTest, CapturesTheResidualStreamThatTrainingSees) {
  for (const char* model : kGoldenModels) {
    const GoldenModel golden(model);
    v1::InferenceSpec spec = SpecWith(Prompts(golden));
    for (const int layer : {2, 0, 1}) spec.mutable_capture()->add_layers(layer);
    const std::vector<Json> prompts = Lines(*ReadFile(spec.prompt_file()));
    std::string unsharded;
    for (const Ranks& ranks : kAllRanks) {
      SCOPED_TRACE(absl::StrCat(model, " ", Describe(ranks)));
      const std::string output = Run(model, spec, ranks);
      if (unsharded.empty()) unsharded = output;
      EXPECT_EQ(output, unsharded);  // Bit for bit.
    }
    const std::string file = folder_ + "/captured.safetensors";
    ASSERT_OK(AtomicWriteFile(file, unsharded));
    Unsharded reference(model);
    for (size_t i = 0; i < prompts.size(); ++i) {
      const auto text = prompts[i]["tokens"].get<std::vector<int32_t>>();
      const std::vector<at::Tensor> expected = StageOutputs(reference.model(), text);
      for (int64_t layer = 0; layer < 3; ++layer) {
        std::vector<int64_t> shape;
        const auto values =
            ReadTensor<float>(file, absl::StrCat("prompt.", i, ".layer.", layer), &shape);
        EXPECT_THAT(shape, ElementsAre(text.size(), expected[layer].size(2)));
        const float* want = expected[layer].const_data_ptr<float>();
        for (size_t j = 0; j < values.size(); ++j) {
          ASSERT_NEAR(values[j], want[j], kTolerance) << i << " " << layer << " " << j;
        }
      }
    }
  }
}

}  // namespace
}  // namespace sotto::inference
