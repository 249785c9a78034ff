// Jobs that read a model instead of training it, through the coordinator: what they write, what
// they may not read, and what survives kills.
#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/files.h"
#include "common/base/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/integration/testing/event_log.h"
#include "tests/integration/testing/service_fixture.h"
#include "tests/integration/testing/tiny_job.h"
#include "tests/integration/testing/tiny_model.h"

namespace sotto::integration {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Ne;
using ::testing::SizeIs;

bool IsNote(const v1::JobEvent& event) { return event.kind_case() == v1::JobEvent::kNote; }

class InferenceJobsTest : public ServiceFixture {
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
  // Of a job that must succeed.
  std::string OutputOf(const v1::JobSpec& spec) {
    const std::string job = Submit(spec);
    EventLog(address(), job).Finish();
    const v1::Job ended = Ended(job);
    EXPECT_EQ(ended.state(), v1::SUCCEEDED) << ended.message();
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

TEST_F(InferenceJobsTest, WorkersMakeNoDifferenceToWhatIsGenerated) {
  const std::string one = OutputOf(GenerateSpec(11, "one", 1));
  EXPECT_THAT(LinesOf(one), SizeIs(11));
  EXPECT_EQ(OutputOf(GenerateSpec(11, "two", 2)), one);
  v1::JobSpec drawn = GenerateSpec(11, "drawn-one", 1);
  drawn.mutable_inference()->mutable_generate()->set_temperature(1);
  const std::string drawn_one = OutputOf(drawn);
  EXPECT_THAT(drawn_one, Ne(one));
  drawn.mutable_inference()->set_output(outputs_ + "/drawn-two");
  drawn.mutable_workers()->set_count(2);
  EXPECT_EQ(OutputOf(drawn), drawn_one);
  EXPECT_THAT(FilesInOutputs(), SizeIs(4)) << "no part of them is left";
}

TEST_F(InferenceJobsTest, NorToScores) {
  const auto score = [&](const std::string& output, int workers, v1::Strategy strategy) {
    v1::JobSpec spec = MakeSpec(WritePrompts(9, true), output, workers);
    spec.mutable_workers()->set_strategy(strategy);
    spec.mutable_inference()->mutable_score();
    return OutputOf(spec);
  };
  const std::string one = score("one", 1, v1::FULL_SHARD);
  EXPECT_THAT(one, HasSubstr("log_probability"));
  EXPECT_EQ(score("two", 2, v1::FULL_SHARD), one);
  EXPECT_EQ(score("whole", 2, v1::NO_SHARD), one);
}

TEST_F(InferenceJobsTest, ATrainedJobIsReadWithoutACharge) {
  RegisterTinyDataset();
  TinyJobOptions options;
  options.steps = 2;
  options.workers = 1;
  v1::JobSpec training = TinyJob(options);
  training.mutable_model()->mutable_adaptation()->mutable_lora()->set_rank(2);
  const std::string trained = Submit(training);
  EventLog(address(), trained).Finish();
  ASSERT_EQ(Ended(trained).state(), v1::SUCCEEDED) << Ended(trained).message();
  ASSERT_OK_AND_ASSIGN(const auto entries, client().ListCharges("tiny"));

  v1::JobSpec spec = GenerateSpec(5, "generated", 2);
  spec.clear_model();
  spec.mutable_inference()->set_checkpoint_of_job(trained);
  EXPECT_THAT(LinesOf(OutputOf(spec)), SizeIs(5));
  ASSERT_OK_AND_ASSIGN(const auto entries_after, client().ListCharges("tiny"));
  EXPECT_EQ(entries_after.size(), entries.size());
  EXPECT_OK(client().VerifyLedger());
}

TEST_F(InferenceJobsTest, ARegisteredDatasetIsNoPromptFile) {
  RegisterTinyDataset();
  v1::JobSpec spec = GenerateSpec(5, "generated", 1);
  const std::string copy = folder_ + "/copy";
  std::filesystem::copy_file(dataset_path_, copy);
  for (const std::string& path : {dataset_path_, copy}) {
    spec.mutable_inference()->set_prompt_file(path);
    EXPECT_THAT(client().Submit(spec),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("dataset \"tiny\"")));
  }
  EXPECT_THAT(FilesInOutputs(), IsEmpty());
}

TEST_F(InferenceJobsTest, PromptsThatChangedSinceSubmissionEndTheJob) {
  // All slots are taken, so that the job waits while its prompts change.
  RegisterTinyDataset();
  TinyJobOptions options;
  options.steps = 4000;
  options.workers = 4;
  options.crash_reserve = 0;
  const std::string running = Submit(TinyJob(options));
  const v1::JobSpec spec = GenerateSpec(5, "generated", 1);
  const std::string queued = Submit(spec);
  ASSERT_OK(AtomicWriteFile(spec.inference().prompt_file(), "{\"tokens\": [1]}\n"));
  ASSERT_OK(client().Cancel(running));
  EventLog(address(), running).Finish();
  EventLog(address(), queued).Finish();
  const v1::Job ended = Ended(queued);
  EXPECT_EQ(ended.state(), v1::FAILED);
  EXPECT_EQ(ended.reason(), v1::PLAN_CANNOT_RUN);
  EXPECT_THAT(ended.message(), HasSubstr("changed since the job was planned"));
  EXPECT_THAT(FilesInOutputs(), IsEmpty());
}

TEST_F(InferenceJobsTest, NothingIsLostWithTheCoordinator) {
  const std::string expected = OutputOf(GenerateSpec(1000, "undisturbed", 2));
  const v1::JobSpec spec = GenerateSpec(1000, "killed", 2);
  const std::string job = Submit(spec);
  EventLog log(address(), job);
  ASSERT_TRUE(log.Await(IsNote)) << "it is under way";
  coordinator_->Kill();
  StartCoordinator();
  log.Finish();
  EXPECT_EQ(Ended(job).reason(), v1::INFERENCE_DONE) << Ended(job).message();
  EXPECT_EQ(Ended(job).attempt(), 1) << "its ranks never stopped";
  EXPECT_THAT(ReadFile(spec.inference().output()), IsOkAndHolds(expected));
  EXPECT_THAT(FilesInOutputs(), SizeIs(2));
}

TEST_F(InferenceJobsTest, ALostRankLeavesNoHalfOfAnOutput) {
  const std::string expected = OutputOf(GenerateSpec(1000, "undisturbed", 2));
  const v1::JobSpec spec = GenerateSpec(1000, "killed", 2);
  const std::string job = Submit(spec);
  EventLog log(address(), job);
  ASSERT_TRUE(log.Await(IsNote)) << "it is under way";
  KillWorker(job, 1);
  log.Finish();
  EXPECT_EQ(Ended(job).reason(), v1::INFERENCE_DONE) << Ended(job).message();
  EXPECT_THAT(ReadFile(spec.inference().output()), IsOkAndHolds(expected));
  EXPECT_THAT(FilesInOutputs(), SizeIs(2)) << "what the lost attempt left is gone";
}

TEST_F(InferenceJobsTest, ACancelledJobWritesNothingOrAll) {
  const v1::JobSpec spec = GenerateSpec(2000, "cancelled", 2);
  const std::string job = Submit(spec);
  EventLog log(address(), job);
  ASSERT_TRUE(log.Await(IsNote)) << "it is under way";
  // It may end first.
  const absl::Status asked = client().Cancel(job).status();
  EXPECT_TRUE(asked.ok() || absl::IsFailedPrecondition(asked)) << asked;
  log.Finish();
  if (Ended(job).state() == v1::CANCELLED) {
    EXPECT_THAT(FilesInOutputs(), IsEmpty());
  } else {
    EXPECT_EQ(Ended(job).reason(), v1::INFERENCE_DONE);
    EXPECT_THAT(FilesInOutputs(), SizeIs(1));
  }
}

}  // namespace
}  // namespace sotto::integration
