// What a rank's tensors need in inference is what the plan says: high-water mark <= plan <= 1.05
// high-water mark, caches, captured layers and logits included. The mark is the allocator's own
// count (worker/memory), the same on every machine.
#include "worker/memory/tensor_memory.h"

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status_matchers.h"
#include "common/checkpoint/safetensors_writer.h"
#include "common/spec/hugging_face_model.h"
#include "gtest/gtest.h"
#include "server/planning/inference_planner.h"
#include "tests/inference/inference_run.h"
#include "tests/integration/testing/tiny_model.h"

namespace sotto::inference {
namespace {

v1::ModelSpec Gpt2(int vocabulary_size, int width) {
  v1::ModelSpec model;
  v1::Gpt2Spec& gpt2 = *model.mutable_gpt2();
  gpt2.set_vocabulary_size(vocabulary_size);
  gpt2.set_width(width);
  gpt2.set_layers(3);
  gpt2.set_heads(4);
  gpt2.set_max_length(128);
  return model;
}
v1::ModelSpec UsualGpt2() { return Gpt2(/*vocabulary_size=*/512, /*width=*/64); }
v1::ModelSpec WideVocabulary() { return Gpt2(/*vocabulary_size=*/40000, /*width=*/32); }

v1::ModelSpec Llama() {
  v1::ModelSpec model;
  v1::LlamaSpec& llama = *model.mutable_llama();
  llama.set_vocabulary_size(512);
  llama.set_width(64);
  llama.set_layers(3);
  llama.set_heads(4);
  llama.set_head_width(16);
  llama.set_key_value_heads(2);
  llama.set_hidden_width(160);
  llama.set_max_length(128);
  return model;
}

v1::ModelSpec Qwen() {
  v1::ModelSpec model = Llama();
  model.mutable_llama()->set_key_value_heads(4);
  model.mutable_llama()->set_hidden_width(96);
  model.mutable_llama()->set_query_key_norm(true);
  model.mutable_llama()->set_untied_head(true);
  return model;
}

struct Case {
  const char* name;
  v1::ModelSpec (*model)();
  Ranks ranks;
  int prompts = 8;
  int prompt_tokens = 64;
  int continuation_tokens = 0;  // of the prompt's; SCORE
  int new_tokens = 0;           // GENERATE
  std::vector<int32_t> layers;  // CAPTURE
  std::string matrix;           // EDIT: whose direction, of the model's width, is removed
  int batch_size = 8;
};

void PrintTo(const Case& tested, std::ostream* out) { *out << tested.name; }

class InferenceMemoryTest : public ::testing::TestWithParam<Case> {
 protected:
  InferenceMemoryTest() : folder_(*MakeTempDir(testing::TempDir() + "/memory-")) {}
  ~InferenceMemoryTest() override { std::filesystem::remove_all(folder_); }

  v1::JobSpec Spec() const {
    const Case& c = GetParam();
    v1::JobSpec spec;
    spec.mutable_model()->set_hugging_face_directory(folder_ + "/model");
    v1::InferenceSpec& inference = *spec.mutable_inference();
    inference.set_output(folder_ + "/out");
    spec.mutable_workers()->set_count(c.ranks.world_size);
    spec.mutable_workers()->set_strategy(c.ranks.strategy);
    if (!c.matrix.empty()) {
      inference.mutable_edit()->set_projections(folder_ + "/projections.safetensors");
      return spec;
    }
    inference.set_prompt_file(folder_ + "/prompts.jsonl");
    inference.set_batch_size(c.batch_size);
    if (c.continuation_tokens > 0) inference.mutable_score();
    if (c.new_tokens > 0) inference.mutable_generate()->set_max_new_tokens(c.new_tokens);
    for (const int32_t layer : c.layers) inference.mutable_capture()->add_layers(layer);
    return spec;
  }

  void WritePrompts() const {
    const Case& c = GetParam();
    std::string lines;
    for (int i = 0; i < c.prompts; ++i) {
      std::vector<int64_t> tokens;
      for (int t = 0; t < c.prompt_tokens; ++t) tokens.push_back((7 * i + 3 * t) % 500);
      const auto end = tokens.end() - c.continuation_tokens;
      absl::StrAppend(&lines, PromptLine({tokens.begin(), end}, {end, tokens.end()}));
    }
    ASSERT_OK(AtomicWriteFile(folder_ + "/prompts.jsonl", lines));
  }

  void WriteProjections(int64_t width) const {
    ASSERT_OK_AND_ASSIGN(checkpoint::SafetensorsWriter writer,
                         checkpoint::SafetensorsWriter::Create(
                             folder_ + "/projections.safetensors",
                             {{.name = GetParam().matrix + ".direction", .shape = {width}}}, {}));
    ASSERT_OK(writer.Append(std::vector<float>(width, 0.25f)));
    ASSERT_OK(writer.Finish().status());
  }

  const std::string folder_;
};

TEST_P(InferenceMemoryTest, HighWaterMarkIsWithinThePlan) {
  const Case& c = GetParam();
  ASSERT_OK(integration::WriteModel(c.model(), folder_ + "/model"));
  WritePrompts();
  WriteProjections(/*width=*/64);
  v1::JobSpec spec = Spec();
  ASSERT_OK(spec::CompleteModel(*spec.mutable_model()));
  planning::InferenceFacts facts;
  if (!spec.inference().has_edit())
    facts.prompts = planning::PromptFacts{.prompts = c.prompts,
                                          .longest = c.prompt_tokens,
                                          .longest_continuation = c.continuation_tokens};
  ASSERT_OK_AND_ASSIGN(
      const v1::JobPlan plan,
      planning::PlanInference(spec, facts,
                              {.slots = 4, .cores = 1, .memory_bytes = int64_t{16} << 30}));
  const v1::MemoryPlan& memory = plan.memory();
  const int64_t planned = memory.parameters_bytes() + memory.slots_bytes() +
                          memory.activations_bytes() + memory.workspace_bytes();

  const int64_t before = memory::TensorLiveBytes();
  memory::ResetTensorPeak();
  ASSERT_OK(RunOnRanks(plan));
  const int64_t measured = memory::TensorPeakBytes() - before;
  const int ranks = c.ranks.world_size;
  std::cout << c.name << ": measured " << measured << ", planned " << ranks * planned << " (ratio "
            << static_cast<double>(ranks * planned) / static_cast<double>(measured)
            << "); parameters " << memory.parameters_bytes() << " slots " << memory.slots_bytes()
            << " activations " << memory.activations_bytes() << " workspace "
            << memory.workspace_bytes() << std::endl;
  EXPECT_LE(measured, ranks * planned);
  // Ranks that are threads of one process need most at different moments.
  const int64_t together = ranks == 1 ? planned : memory.parameters_bytes() + memory.slots_bytes();
  EXPECT_LE(static_cast<double>(ranks * together), 1.05 * static_cast<double>(measured));
}

constexpr Ranks kOne = {v1::FULL_SHARD, 1};

INSTANTIATE_TEST_SUITE_P(
    Cases, InferenceMemoryTest,
    ::testing::Values(
        Case{.name = "generate", .model = UsualGpt2, .ranks = kOne, .new_tokens = 32},
        Case{.name = "generate_llama", .model = Llama, .ranks = kOne, .new_tokens = 64},
        Case{.name = "generate_qwen", .model = Qwen, .ranks = kOne, .new_tokens = 32},
        Case{.name = "generate_from_one_token",
             .model = Llama,
             .ranks = kOne,
             .prompts = 64,
             .prompt_tokens = 1,
             .new_tokens = 127,
             .batch_size = 64},
        Case{.name = "generate_many",
             .model = UsualGpt2,
             .ranks = kOne,
             .prompts = 64,
             .prompt_tokens = 100,
             .new_tokens = 28,
             .batch_size = 64},
        Case{.name = "generate_one_prompt",
             .model = UsualGpt2,
             .ranks = kOne,
             .prompts = 1,
             .new_tokens = 8},
        Case{.name = "score", .model = UsualGpt2, .ranks = kOne, .continuation_tokens = 63},
        Case{.name = "score_short", .model = Llama, .ranks = kOne, .continuation_tokens = 2},
        Case{.name = "score_in_pieces",
             .model = WideVocabulary,
             .ranks = kOne,
             .prompt_tokens = 128,
             .continuation_tokens = 127},
        Case{.name = "capture", .model = UsualGpt2, .ranks = kOne, .layers = {0, 2}},
        Case{.name = "capture_all", .model = Qwen, .ranks = kOne, .layers = {3, 2, 1, 0}},
        Case{.name = "no_shard",
             .model = Llama,
             .ranks = {v1::NO_SHARD, 1},
             .continuation_tokens = 63},
        Case{.name = "shard_grad_op",
             .model = UsualGpt2,
             .ranks = {v1::SHARD_GRAD_OP, 1},
             .new_tokens = 32},
        Case{.name = "two_ranks",
             .model = UsualGpt2,
             .ranks = {v1::FULL_SHARD, 2},
             .new_tokens = 32},
        Case{.name = "four_ranks", .model = Llama, .ranks = {v1::FULL_SHARD, 4}, .layers = {3}},
        Case{.name = "edit", .model = UsualGpt2, .ranks = kOne, .matrix = "h.1.mlp.c_proj.weight"},
        Case{.name = "edit_no_shard",
             .model = Qwen,
             .ranks = {v1::NO_SHARD, 2},
             .matrix = "layers.0.self_attn.o_proj.weight"},
        Case{.name = "edit_three_ranks",
             .model = Llama,
             .ranks = {v1::FULL_SHARD, 3},
             .matrix = "layers.2.mlp.down_proj.weight"}),
    [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace sotto::inference

int main(int argc, char** argv) {
  sotto::memory::CountTensors();
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
