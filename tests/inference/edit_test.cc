// Edits, under every strategy and world size; and what is refused by every kind.
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status_matchers.h"
#include "common/checkpoint/safetensors_reader.h"
#include "common/checkpoint/safetensors_writer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/inference/golden_model.h"
#include "tests/inference/inference_run.h"

namespace sotto::inference {
namespace {

using checkpoint::SafetensorsEntry;
using checkpoint::SafetensorsReader;
using checkpoint::SafetensorsWriter;
using checkpoint::TensorShape;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct Vector {
  std::string name;
  std::vector<float> values;
};

// Values that are no sums of few powers of two.
std::vector<float> Values(int64_t elements, int64_t first) {
  std::vector<float> values;
  for (int64_t i = 0; i < elements; ++i) values.push_back(0.01f / static_cast<float>(first + i));
  return values;
}

class EditTest : public testing::Test {
 protected:
  EditTest() : folder_(*MakeTempDir(testing::TempDir() + "/edit-")) {}
  ~EditTest() override { std::filesystem::remove_all(folder_); }

  v1::InferenceSpec SpecWith(const std::vector<Vector>& vectors) const {
    v1::InferenceSpec spec;
    spec.set_output(folder_ + "/out");
    spec.mutable_edit()->set_projections(folder_ + "/projections.safetensors");
    std::vector<TensorShape> shapes;
    for (const Vector& vector : vectors) {
      shapes.push_back(
          {.name = vector.name, .shape = {static_cast<int64_t>(vector.values.size())}});
    }
    SafetensorsWriter writer = *SafetensorsWriter::Create(spec.edit().projections(), shapes, {});
    for (const Vector& vector : vectors) EXPECT_OK(writer.Append(vector.values));
    EXPECT_OK(writer.Finish().status());
    return spec;
  }

  // Names of what the run left beside its inputs.
  std::vector<std::string> Leftovers() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
      const std::string name = entry.path().filename().string();
      if (name != "projections.safetensors" && name != "prompts.jsonl") names.push_back(name);
    }
    return names;
  }

  const std::string folder_;
};

TEST_F(EditTest, ShardedEditsAreTheUnshardedOneBitForBit) {
  struct Case {
    const char* model;
    const char* named;   // as the projections name the matrix
    const char* stored;  // as the file does
  };
  const Case cases[] = {
      {kGoldenModels[0], "h.1.mlp.c_proj.weight", "transformer.h.1.mlp.c_proj.weight"},
      {kGoldenModels[0], "transformer.wte.weight", "transformer.wte.weight"},
      {kGoldenModels[1], "model.layers.0.self_attn.o_proj.weight",
       "model.layers.0.self_attn.o_proj.weight"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.named);
    const std::string original = absl::StrCat(c.model, "/model.safetensors");
    const auto before = *SafetensorsReader::Open(original);
    const SafetensorsEntry* matrix = before->Find(c.stored);
    ASSERT_NE(matrix, nullptr);
    const std::vector<float> left = Values(matrix->shape[0], 3);
    const std::vector<float> right = Values(matrix->shape[1], 7);
    v1::InferenceSpec spec = SpecWith(
        {{absl::StrCat(c.named, ".left"), left}, {absl::StrCat(c.named, ".right"), right}});
    spec.mutable_edit()->set_scale(-1.5);
    std::vector<float> expected = ReadTensor<float>(original, c.stored);
    for (size_t i = 0; i < expected.size(); ++i) {
      const double change = -1.5 * left[i / right.size()] * right[i % right.size()];
      expected[i] = static_cast<float>(expected[i] + change);
    }
    for (const Ranks& ranks : kAllRanks) {
      SCOPED_TRACE(Describe(ranks));
      ASSERT_OK(RunOnRanks(PlanOf(c.model, spec, ranks)));
      EXPECT_EQ(*ReadFile(spec.output() + "/config.json"),
                *ReadFile(absl::StrCat(c.model, "/config.json")));
      const auto after = *SafetensorsReader::Open(spec.output() + "/model.safetensors");
      EXPECT_EQ(after->header().entries.size(), before->header().entries.size());
      EXPECT_EQ(ReadTensor<float>(spec.output() + "/model.safetensors", c.stored), expected);
      for (const SafetensorsEntry& entry : before->header().entries) {
        if (entry.name == c.stored) continue;
        ASSERT_NE(after->Find(entry.name), nullptr) << entry.name;
        EXPECT_EQ(after->Bytes(*after->Find(entry.name)), before->Bytes(entry)) << entry.name;
      }
      std::filesystem::remove_all(spec.output());
    }
  }
}

TEST_F(EditTest, ProjectionsThatDoNotFitAreRefusedByName) {
  struct Case {
    const char* message;
    std::vector<Vector> vectors;
  };
  const std::string weight = "h.0.attn.c_proj.weight";
  const auto golden =
      *SafetensorsReader::Open(absl::StrCat(kGoldenModels[0], "/model.safetensors"));
  const int64_t width = golden->Find("transformer." + weight)->shape[0];
  const std::vector<Case> cases = {
      {"no parameter nothing", {{"nothing.left", Values(2, 1)}, {"nothing.right", Values(2, 1)}}},
      {".right is missing", {{weight + ".left", Values(width, 1)}}},
      {"must have the shape",
       {{weight + ".left", Values(width + 1, 1)}, {weight + ".right", Values(width, 1)}}},
      {"MATRIX.left", {{weight, Values(width, 1)}}},
      {"no matrix", {{"ln_f.weight.left", Values(width, 1)}, {"ln_f.weight.right", Values(1, 1)}}},
      {"names too",
       {{weight + ".left", Values(width, 1)},
        {weight + ".right", Values(width, 1)},
        {"transformer." + weight + ".left", Values(width, 1)},
        {"transformer." + weight + ".right", Values(width, 1)}}},
  };
  for (const Case& c : cases) {
    for (const int world_size : {1, 2}) {
      EXPECT_THAT(
          RunOnRanks(PlanOf(kGoldenModels[0], SpecWith(c.vectors), {v1::FULL_SHARD, world_size})),
          StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(c.message)));
      EXPECT_THAT(Leftovers(), IsEmpty());
    }
  }
}

TEST_F(EditTest, WhatCannotBeReadIsRefusedByNameAndLeavesNothing) {
  const GoldenModel golden(kGoldenModels[1]);
  struct Case {
    const char* message;
    std::string prompts;
    void (*change)(v1::JobPlan&);
  };
  const std::string good = PromptLine({1, 2, 3});
  const std::vector<Case> cases = {
      {"vocabulary", PromptLine({1, 97}), [](v1::JobPlan&) {}},
      {"max_new_tokens is 62", good,
       [](v1::JobPlan& plan) {
         plan.mutable_spec()->mutable_inference()->mutable_generate()->set_max_new_tokens(62);
       }},
      {"text is read as bytes", "{\"text\": \"a\"}\n", [](v1::JobPlan&) {}},
      {"line 2", good + "{\"tokens\": 5}\n", [](v1::JobPlan&) {}},
      {"changed since", good,
       [](v1::JobPlan& plan) { plan.mutable_inference()->set_prompt_sha256("00"); }},
      {"layers must be from 0 (the embeddings) to 2", good,
       [](v1::JobPlan& plan) {
         plan.mutable_spec()->mutable_inference()->mutable_capture()->add_layers(3);
       }},
      {"language model", good,
       [](v1::JobPlan& plan) {
         v1::EncoderSpec& encoder = *plan.mutable_spec()->mutable_model()->mutable_encoder();
         encoder.set_vocabulary_size(97);
         encoder.set_width(32);
         encoder.set_layers(1);
         encoder.set_heads(2);
         encoder.set_max_length(64);
         encoder.set_classes(2);
       }},
  };
  for (const Case& c : cases) {
    for (const int world_size : {1, 2}) {
      v1::InferenceSpec spec;
      spec.set_prompt_file(folder_ + "/prompts.jsonl");
      spec.set_output(folder_ + "/out");
      spec.mutable_generate();
      ASSERT_OK(AtomicWriteFile(spec.prompt_file(), c.prompts));
      v1::JobPlan plan = PlanOf(golden.directory, spec, {v1::FULL_SHARD, world_size});
      plan.mutable_spec()->mutable_inference()->mutable_generate()->set_max_new_tokens(4);
      c.change(plan);
      EXPECT_THAT(RunOnRanks(plan),
                  StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(c.message)));
      EXPECT_THAT(Leftovers(), IsEmpty());
    }
  }
}

TEST_F(EditTest, OutputsThatExistAreReplacedOnlyByLaterAttempts) {
  v1::InferenceSpec spec;
  spec.set_prompt_file(folder_ + "/prompts.jsonl");
  spec.set_output(folder_ + "/out");
  spec.mutable_generate()->set_max_new_tokens(2);
  ASSERT_OK(AtomicWriteFile(spec.prompt_file(), PromptLine({1})));
  ASSERT_OK(AtomicWriteFile(spec.output(), "old"));
  const v1::JobPlan plan = PlanOf(kGoldenModels[1], spec, {v1::FULL_SHARD, 2});
  EXPECT_THAT(RunOnRanks(plan), StatusIs(absl::StatusCode::kAlreadyExists, HasSubstr("out")));
  EXPECT_EQ(*ReadFile(spec.output()), "old");
  EXPECT_OK(RunOnRanks(plan, {.may_replace_output = true}));
  EXPECT_THAT(*ReadFile(spec.output()), HasSubstr("\"prompt\":0"));
}

// Two jobs that were admitted at the same moment: each has unfinished files of its own, and the
// second output to be whole is refused.
TEST_F(EditTest, WhatAppearsMeanwhileIsNotReplaced) {
  struct Case {
    const char* name;
    void (*choose)(v1::InferenceSpec&);
  };
  const Case cases[] = {
      {"generate", [](v1::InferenceSpec& s) { s.mutable_generate()->set_max_new_tokens(2); }},
      {"score", [](v1::InferenceSpec& s) { s.mutable_score(); }},
      {"capture", [](v1::InferenceSpec& s) { s.mutable_capture()->add_layers(1); }},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    v1::InferenceSpec spec;
    spec.set_prompt_file(folder_ + "/prompts.jsonl");
    spec.set_output(folder_ + "/out");
    c.choose(spec);
    ASSERT_OK(AtomicWriteFile(spec.prompt_file(),
                              spec.has_score() ? PromptLine({1}, {2}) : PromptLine({1})));
    const v1::JobPlan plan = PlanOf(kGoldenModels[1], spec, {});
    std::vector<std::string> names;
    const auto appear = [&] {
      if (names.empty()) {
        names = Leftovers();
        EXPECT_OK(AtomicWriteFile(spec.output(), "another's"));
      }
      return false;
    };
    EXPECT_THAT(RunOnRanks(plan, {.should_stop = appear, .job = "job-7"}),
                StatusIs(absl::StatusCode::kAlreadyExists, HasSubstr("must not exist yet")));
    EXPECT_THAT(names, ElementsAre("out.job-7.part-0"));
    EXPECT_EQ(*ReadFile(spec.output()), "another's");
    EXPECT_THAT(Leftovers(), ElementsAre("out"));
    std::filesystem::remove(spec.output());
  }
}

TEST_F(EditTest, WhatAKilledAttemptLeftIsGoneAfterTheNext) {
  const std::string matrix = "model.layers.0.self_attn.o_proj.weight";
  v1::InferenceSpec spec =
      SpecWith({{matrix + ".left", Values(32, 3)}, {matrix + ".right", Values(32, 7)}});
  const v1::JobPlan plan = PlanOf(kGoldenModels[1], spec, {v1::FULL_SHARD, 2});
  ASSERT_OK(RunOnRanks(plan, {.job = "job-7"}));
  const std::string expected = *ReadFile(spec.output() + "/model.safetensors");
  const std::string unfinished = spec.output() + ".job-7.unfinished";
  for (const bool had_appeared : {true, false}) {
    std::filesystem::create_directory(unfinished);
    ASSERT_OK(AtomicWriteFile(unfinished + "/model.safetensors", "half"));
    if (!had_appeared) std::filesystem::remove_all(spec.output());
    ASSERT_OK(RunOnRanks(plan, {.may_replace_output = true, .job = "job-7"}));
    EXPECT_EQ(*ReadFile(spec.output() + "/model.safetensors"), expected);
    EXPECT_THAT(Leftovers(), ElementsAre("out"));
  }
}

TEST_F(EditTest, LaterAttemptsReplaceAModelAndNothingElse) {
  const std::string matrix = "model.layers.0.self_attn.o_proj.weight";
  v1::InferenceSpec spec =
      SpecWith({{matrix + ".left", Values(32, 3)}, {matrix + ".right", Values(32, 7)}});
  std::filesystem::create_directory(spec.output());
  ASSERT_OK(AtomicWriteFile(spec.output() + "/thesis.txt", "years of work"));
  EXPECT_THAT(RunOnRanks(PlanOf(kGoldenModels[1], spec, {}), {.may_replace_output = true}),
              StatusIs(absl::StatusCode::kAlreadyExists));
  EXPECT_EQ(*ReadFile(spec.output() + "/thesis.txt"), "years of work");
}

TEST_F(EditTest, StoppedJobsWriteNothing) {
  v1::InferenceSpec spec;
  spec.set_prompt_file(folder_ + "/prompts.jsonl");
  spec.set_output(folder_ + "/out");
  spec.mutable_generate()->set_max_new_tokens(40);
  ASSERT_OK(AtomicWriteFile(spec.prompt_file(), PromptLine({1})));
  std::atomic<int> questions = 0;
  infer::Outcome outcome;
  ASSERT_OK(RunOnRanks(PlanOf(kGoldenModels[1], spec, {v1::FULL_SHARD, 2}),
                       {.should_stop = [&] { return ++questions > 6; }}, &outcome));
  EXPECT_TRUE(outcome.was_stopped);
  EXPECT_LT(questions, 12);  // It did not go on to the last token.
  EXPECT_THAT(Leftovers(), IsEmpty());
}

}  // namespace
}  // namespace sotto::inference
