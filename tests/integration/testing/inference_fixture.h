// Jobs that read a model instead of training it, submitted to a real coordinator.
#ifndef SOTTO_TESTS_INTEGRATION_TESTING_INFERENCE_FIXTURE_H_
#define SOTTO_TESTS_INTEGRATION_TESTING_INFERENCE_FIXTURE_H_

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/files.h"
#include "common/base/status_matchers.h"
#include "gtest/gtest.h"
#include "tests/integration/testing/event_log.h"
#include "tests/integration/testing/service_fixture.h"
#include "tests/integration/testing/tiny_model.h"

namespace sotto::integration {

inline bool IsNote(const v1::JobEvent& event) { return event.kind_case() == v1::JobEvent::kNote; }

class InferenceFixture : public ServiceFixture {
 protected:
  void SetUp() override {
    ServiceFixture::SetUp();
    StartCoordinator();
    outputs_ = folder_ + "/outputs";
    std::filesystem::create_directory(outputs_);
    ASSERT_OK(WriteTinyModel(folder_ + "/model"));
  }

  // `prompts` prompts, each with a continuation for SCORE.
  std::string WritePrompts(int prompts, bool continued) {
    std::string lines;
    for (int i = 0; i < prompts; ++i) {
      absl::StrAppend(&lines, "{\"tokens\": [", 97 + i % 26, ", ", 97 + i / 26 % 26, "]");
      if (continued)
        absl::StrAppend(&lines, ", \"continuation\": \"", i % 3 == 0 ? "abc" : "z", "\"");
      absl::StrAppend(&lines, "}\n");
    }
    const std::string path =
        absl::StrCat(folder_, "/prompts-", prompts, continued ? "-continued" : "");
    EXPECT_OK(AtomicWriteFile(path, lines));
    return path;
  }

  v1::JobSpec MakeSpec(const std::string& prompts, const std::string& output, int workers) {
    v1::JobSpec spec;
    spec.mutable_model()->set_hugging_face_directory(folder_ + "/model");
    spec.mutable_workers()->set_count(workers);
    spec.mutable_inference()->set_prompt_file(prompts);
    spec.mutable_inference()->set_output(outputs_ + "/" + output);
    spec.mutable_inference()->set_batch_size(16);
    return spec;
  }
  v1::JobSpec GenerateSpec(int prompts, const std::string& output, int workers) {
    v1::JobSpec spec = MakeSpec(WritePrompts(prompts, false), output, workers);
    spec.mutable_inference()->mutable_generate()->set_max_new_tokens(8);
    return spec;
  }

  std::string Submit(const v1::JobSpec& spec) {
    const absl::StatusOr<v1::Job> job = client().Submit(spec);
    EXPECT_OK(job);
    return job.ok() ? job->id() : "";
  }
  v1::Job Ended(const std::string& job) {
    const absl::StatusOr<v1::Job> ended = client().GetJob(job);
    EXPECT_OK(ended);
    return ended.ok() ? *ended : v1::Job();
  }
  static std::vector<std::string> LinesOf(const std::string& text) {
    return absl::StrSplit(text, '\n', absl::SkipEmpty());
  }
  // Runs a job that must succeed.
  v1::Job Run(const v1::JobSpec& spec) {
    const std::string job = Submit(spec);
    EventLog(address(), job).Finish();
    v1::Job ended = Ended(job);
    EXPECT_EQ(ended.state(), v1::SUCCEEDED) << ended.message();
    return ended;
  }
  std::string OutputOf(const v1::JobSpec& spec) {
    const v1::Job ended = Run(spec);
    EXPECT_EQ(ended.reason(), v1::INFERENCE_DONE);
    EXPECT_EQ(ended.completed_steps(), ended.plan().inference().prompts());
    const absl::StatusOr<std::string> output = ReadFile(spec.inference().output());
    EXPECT_OK(output);
    return output.value_or("");
  }
  std::vector<std::string> FilesInOutputs() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(outputs_)) {
      names.push_back(entry.path().filename());
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  std::string outputs_;
};

}  // namespace sotto::integration

#endif  // SOTTO_TESTS_INTEGRATION_TESTING_INFERENCE_FIXTURE_H_
