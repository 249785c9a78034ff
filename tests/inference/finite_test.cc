// Values that are not finite end a job by name; nothing of it is left.
#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status_matchers.h"
#include "common/checkpoint/safetensors_writer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/inference/changed_model.h"
#include "tests/inference/golden_model.h"
#include "tests/inference/inference_run.h"
#include "tests/inference/saving_ranks.h"
#include "worker/train/initial_weights.h"

namespace sotto::inference {
namespace {

using checkpoint::SafetensorsWriter;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr char kLlama[] = "tests/golden/models/llama_gqa";
constexpr char kMatrix[] = "model.layers.0.self_attn.o_proj.weight";  // [32, 32]

class FiniteTest : public testing::Test {
 protected:
  FiniteTest() : folder_(*MakeTempDir(testing::TempDir() + "/finite-")) {}
  ~FiniteTest() override { std::filesystem::remove_all(folder_); }

  v1::InferenceSpec SpecOf() const {
    v1::InferenceSpec spec;
    spec.set_output(folder_ + "/results/out");
    std::filesystem::create_directory(folder_ + "/results");
    return spec;
  }

  // Six prompts, of two groups; only the last one has the token 50.
  v1::InferenceSpec SpecWithPrompts(bool has_continuations) const {
    v1::InferenceSpec spec = SpecOf();
    spec.set_prompt_file(folder_ + "/prompts.jsonl");
    std::string lines;
    for (const int64_t token : {1, 2, 3, 4, 5, 50}) {
      lines += has_continuations ? PromptLine({token, 7}, {8, 9}) : PromptLine({token, 7});
    }
    EXPECT_OK(AtomicWriteFile(spec.prompt_file(), lines));
    return spec;
  }

  v1::InferenceSpec EditSpec(const std::vector<float>& left,
                             const std::vector<float>& right) const {
    v1::InferenceSpec spec = SpecOf();
    spec.mutable_edit()->set_projections(folder_ + "/projections.safetensors");
    SafetensorsWriter writer = *SafetensorsWriter::Create(
        spec.edit().projections(),
        {{.name = absl::StrCat(kMatrix, ".left"), .shape = {static_cast<int64_t>(left.size())}},
         {.name = absl::StrCat(kMatrix, ".right"), .shape = {static_cast<int64_t>(right.size())}}},
        {});
    EXPECT_OK(writer.Append(left));
    EXPECT_OK(writer.Append(right));
    EXPECT_OK(writer.Finish().status());
    return spec;
  }

  void ExpectRefused(const std::string& model, const v1::InferenceSpec& spec,
                     const std::string& what, const std::string& where) const {
    for (const Ranks& ranks : kAllRanks) {
      SCOPED_TRACE(Describe(ranks));
      EXPECT_THAT(RunOnRanks(PlanOf(model, spec, ranks)),
                  StatusIs(absl::StatusCode::kInvalidArgument,
                           AllOf(HasSubstr("finite"), HasSubstr(what), HasSubstr(where))));
      EXPECT_TRUE(std::filesystem::is_empty(folder_ + "/results"));
    }
  }

  // The Llama with one value of a tensor, or all, replaced.
  std::string ModelWith(const std::string& tensor, float value, int64_t first = 0,
                        int64_t count = -1) const {
    const std::string directory = folder_ + "/model";
    EXPECT_OK(WriteChanged(kLlama, directory, "F32",
                           [&](const std::string& name, absl::Span<float> values) {
                             if (name != tensor) return;
                             if (count >= 0) values = values.subspan(first, count);
                             for (float& v : values) v = value;
                           }));
    return directory;
  }

  const std::string folder_;
};

TEST_F(FiniteTest, ScoresNameThePrompt) {
  v1::InferenceSpec spec = SpecWithPrompts(/*has_continuations=*/true);
  spec.mutable_score();
  ExpectRefused(ModelWith("model.norm.weight", NAN), spec, "log-probabilities of prompt", "");
  // Only the embedding of the token 50: its row of 32.
  for (const float value : {NAN, INFINITY}) {
    ExpectRefused(ModelWith("model.embed_tokens.weight", value, 50 * 32, 32), spec,
                  "log-probabilities of prompt 5", "");
  }
}

TEST_F(FiniteTest, CapturesNameLayerAndPrompt) {
  v1::InferenceSpec spec = SpecWithPrompts(/*has_continuations=*/false);
  spec.mutable_capture()->add_layers(0);
  spec.mutable_capture()->add_layers(1);
  // The last block's part of the stream is not asked for; then it is.
  const std::string last = ModelWith("model.layers.1.mlp.down_proj.weight", NAN);
  ASSERT_OK(RunOnRanks(PlanOf(last, spec, {})));
  std::filesystem::remove(spec.output());
  v1::InferenceSpec all = spec;
  all.mutable_capture()->add_layers(2);
  ExpectRefused(last, all, "layer 2 of prompt", "");
  ExpectRefused(ModelWith("model.embed_tokens.weight", INFINITY, 50 * 32 + 31, 1), spec,
                "layer 0 of prompt 5", "");
}

TEST_F(FiniteTest, EditsNameTheMatrix) {
  std::vector<float> left(32, 0.5f), right(32, 0.25f);
  right[31] = NAN;
  ExpectRefused(kLlama, EditSpec(left, right), kMatrix, ".right");
  left[30] = INFINITY;
  ExpectRefused(kLlama, EditSpec(left, right), kMatrix, ".left");
  left = right = std::vector<float>(32, 0);
  left[31] = right[2] = 1e38f;
  ExpectRefused(kLlama, EditSpec(left, right), kMatrix, absl::StrCat("element ", 31 * 32 + 2));
}

TEST_F(FiniteTest, EditsAreFiniteInTheFilesOwnType) {
  const std::vector<float> left(32, 300), right(32, 300);  // 90000 is no float16.
  for (const char* dtype : {"F32", "BF16"}) {
    const std::string model = absl::StrCat(folder_, "/", dtype);
    ASSERT_OK(WriteChanged(kLlama, model, dtype, [](const std::string&, absl::Span<float>) {}));
    const v1::InferenceSpec spec = EditSpec(left, right);
    ASSERT_OK(RunOnRanks(PlanOf(model, spec, {v1::FULL_SHARD, 2})));
    std::filesystem::remove_all(spec.output());
  }
  const std::string model = folder_ + "/F16";
  ASSERT_OK(WriteChanged(kLlama, model, "F16", [](const std::string&, absl::Span<float>) {}));
  ExpectRefused(model, EditSpec(left, right), kMatrix, "as F16");
}

TEST_F(FiniteTest, EditsWriteNoModelThatWasNotFinite) {
  ExpectRefused(ModelWith("model.layers.1.mlp.up_proj.weight", NAN, 77, 1),
                EditSpec(std::vector<float>(32, 1), std::vector<float>(32, 1)),
                "element 77 of tensor model.layers.1.mlp.up_proj.weight", "as F32");
}

// Before the first step, on every rank, whichever holds the element.
TEST_F(FiniteTest, TrainingNamesTheWeightThatItCannotStartFrom) {
  const auto check = [](infer::ShardedModel& model, comm::Communicator&) {
    return train::CheckFinite(model.parameters());
  };
  ASSERT_OK_AND_ASSIGN(const Source whole, Source::Open(kLlama));
  ASSERT_OK_AND_ASSIGN(const Source broken,
                       Source::Open(ModelWith("model.layers.1.mlp.up_proj.weight", NAN, 77, 1)));
  for (const Grid& grid : AllGrids()) {
    SCOPED_TRACE(Describe(grid));
    EXPECT_OK(RunWithModel(whole, grid, check));
    EXPECT_THAT(RunWithModel(broken, grid, check),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         HasSubstr("element 77 of layers.1.mlp.up_proj.weight is nan")));
  }
}

// A model in float64 would come back rounded.
TEST_F(FiniteTest, EditsRefuseFloat64ByName) {
  const std::string model = folder_ + "/F64";
  ASSERT_OK(WriteChanged(kLlama, model, "F64", [](const std::string&, absl::Span<float>) {}));
  const v1::InferenceSpec spec = EditSpec(std::vector<float>(32, 1), std::vector<float>(32, 1));
  for (const int world_size : {1, 2}) {
    EXPECT_THAT(RunOnRanks(PlanOf(model, spec, {v1::FULL_SHARD, world_size})),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         AllOf(HasSubstr("float64"), HasSubstr("lm_head.weight"))));
    EXPECT_TRUE(std::filesystem::is_empty(folder_ + "/results"));
  }
}

TEST_F(FiniteTest, EditsKeepTokenizerAndGenerationFiles) {
  const std::string model = folder_ + "/model";
  ASSERT_OK(WriteChanged(kLlama, model, "BF16", [](const std::string&, absl::Span<float>) {}));
  const std::vector<std::string> copied = {"generation_config.json", "tokenizer.json",
                                           "tokenizer_config.json", "merges.txt"};
  for (const std::string& name : copied) ASSERT_OK(AtomicWriteFile(model + "/" + name, name));
  ASSERT_OK(AtomicWriteFile(model + "/notes.txt", "not the model's"));
  const v1::InferenceSpec spec = EditSpec(std::vector<float>(32, 1), std::vector<float>(32, 1));
  for (int attempt = 0; attempt < 2; ++attempt) {  // The second one replaces the first one's.
    ASSERT_OK(RunOnRanks(PlanOf(model, spec, {v1::FULL_SHARD, 2}), {.may_replace_output = true}));
    for (const std::string& name : copied) {
      EXPECT_THAT(ReadFile(spec.output() + "/" + name), IsOkAndHolds(name));
    }
    EXPECT_FALSE(std::filesystem::exists(spec.output() + "/notes.txt"));
  }
}

}  // namespace
}  // namespace sotto::inference
