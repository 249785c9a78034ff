// Jobs that read a model instead of training it, through the coordinator: what they write, what
// they may not read, and what survives kills.
#include <filesystem>
#include <string>

#include "common/base/files.h"
#include "common/base/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/integration/testing/event_log.h"
#include "tests/integration/testing/inference_fixture.h"
#include "tests/integration/testing/tiny_job.h"

namespace sotto::integration {
namespace {

using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Ne;
using ::testing::SizeIs;

class InferenceJobsTest : public InferenceFixture {};

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
  const std::string link = folder_ + "/link";
  const std::string other_name = folder_ + "/other-name";
  std::filesystem::copy_file(dataset_path_, copy);
  std::filesystem::create_symlink(dataset_path_, link);
  std::filesystem::create_hard_link(dataset_path_, other_name);
  for (const std::string& path : {dataset_path_, copy, link, other_name}) {
    spec.mutable_inference()->set_prompt_file(path);
    EXPECT_THAT(client().Submit(spec),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("dataset \"tiny\"")))
        << path;
  }
  // Its names stay refused when its content changes.
  ASSERT_OK(AtomicWriteFile(dataset_path_, "{\"tokens\": [1]}\n"));
  for (const std::string& path : {dataset_path_, link}) {
    spec.mutable_inference()->set_prompt_file(path);
    EXPECT_THAT(client().Submit(spec),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("dataset \"tiny\"")))
        << path;
  }
  EXPECT_THAT(FilesInOutputs(), IsEmpty());
}

TEST_F(InferenceJobsTest, OneOutputHasOneJob) {
  const v1::JobSpec spec = GenerateSpec(1000, "out", 2);
  const std::string job = Submit(spec);
  EventLog log(address(), job);
  ASSERT_TRUE(log.Await(IsNote)) << "it is under way";
  v1::JobSpec other = GenerateSpec(3, "out", 1);
  std::filesystem::create_directory_symlink(outputs_, folder_ + "/alias");
  other.mutable_inference()->set_output(folder_ + "/alias/out");
  const absl::Status refused = client().Submit(other).status();
  log.Finish();
  ASSERT_EQ(Ended(job).reason(), v1::INFERENCE_DONE) << Ended(job).message();
  EXPECT_THAT(LinesOf(*ReadFile(spec.inference().output())), SizeIs(1000));
  // It may have ended first.
  EXPECT_THAT(refused.message(),
              AnyOf(HasSubstr(job + " is to write"), HasSubstr("inference.output must not exist")));
  EXPECT_THAT(client().Submit(other), StatusIs(absl::StatusCode::kInvalidArgument,
                                               HasSubstr("inference.output must not exist")));
  EXPECT_THAT(FilesInOutputs(), ElementsAre("out"));
}

TEST_F(InferenceJobsTest, ARepeatedRequestIsTheJobThatWroteTheOutput) {
  const v1::JobSpec spec = GenerateSpec(3, "out", 1);
  ASSERT_OK_AND_ASSIGN(const v1::Job first, client().Submit(spec, "once"));
  EventLog(address(), first.id()).Finish();
  ASSERT_OK_AND_ASSIGN(const v1::Job again, client().Submit(spec, "once"));
  EXPECT_EQ(again.id(), first.id());
  EXPECT_EQ(again.reason(), v1::INFERENCE_DONE);
  EXPECT_THAT(
      client().Submit(spec, "twice"),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("inference.output must not exist")));
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

TEST_F(InferenceJobsTest, NorDoesALostGang) {
  const auto capture = [&](const std::string& output) {
    v1::JobSpec spec = MakeSpec(WritePrompts(1000, false), output, 2);
    for (const int layer : {0, 1, 2})
      spec.mutable_inference()->mutable_capture()->add_layers(layer);
    return spec;
  };
  const std::string expected = OutputOf(capture("undisturbed"));
  const v1::JobSpec spec = capture("killed");
  const std::string job = Submit(spec);
  EventLog log(address(), job);
  ASSERT_TRUE(log.Await(IsNote)) << "it is under way";
  KillAllWorkers(job, 2);
  log.Finish();
  EXPECT_EQ(Ended(job).reason(), v1::INFERENCE_DONE) << Ended(job).message();
  EXPECT_TRUE(*ReadFile(spec.inference().output()) == expected);
  EXPECT_THAT(FilesInOutputs(), ElementsAre("killed", "undisturbed"));
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
