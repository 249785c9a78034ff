// What users do with jobs that run: exit codes, detaching, coordinators that come with a command.
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>

#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/fd.h"
#include "common/base/files.h"
#include "common/base/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/integration/cli/cli_process.h"
#include "tests/integration/cli/cli_watch.h"
#include "tests/integration/testing/leftovers.h"
#include "tests/integration/testing/service_fixture.h"

namespace sotto::integration {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

std::string Spec(int steps, int workers) {
  return absl::StrCat(R"(
name: story
model: {gpt2: {vocabulary_size: 257, width: 16, layers: 1, heads: 2, max_length: 32}}
data: {dataset: tiny}
privacy: {epsilon: 3, clip_norm: 1}
train: {expected_batch_size: 8, steps: )",
                      steps, R"(, learning_rate: {peak: 0.001}}
workers: {count: )",
                      workers, R"(, strategy: FULL_SHARD}
gradient: {mode: per_example}
checkpoint: {every_steps: 50}
)");
}

class StoryTest : public ServiceFixture {
 protected:
  void SetUp() override {
    ServiceFixture::SetUp();
    ASSERT_OK(InstallBinaries(folder_));
  }
  std::string WriteSpec(int steps, int workers = 1) {
    const std::string path = folder_ + "/job.yaml";
    EXPECT_OK(AtomicWriteFile(path, Spec(steps, workers)));
    return path;
  }
  // `sotto` on the state folder of the test.
  CliOutcome Run(std::vector<std::string> arguments) {
    arguments.push_back("--state_dir=" + state_dir_);
    const absl::StatusOr<CliOutcome> outcome = RunCli(folder_, std::move(arguments));
    EXPECT_OK(outcome);
    return outcome.ok() ? *outcome : CliOutcome{.code = -1};
  }
  absl::StatusOr<CliWatch> Start(std::vector<std::string> arguments) {
    arguments.push_back("--state_dir=" + state_dir_);
    return CliWatch::Start(folder_, std::move(arguments));
  }
  CliOutcome AddDataset() {
    return Run({"dataset", "add", "tiny", dataset_path_, "--max_records", "100", "--epsilon", "20",
                "--delta", "1e-5"});
  }
};

TEST_F(StoryTest, RunNeedsNoCoordinatorAndItsStateOutlivesIt) {
  EXPECT_EQ(AddDataset().code, 0);
  const CliOutcome run = Run({"run", WriteSpec(5), "--request_id", "once"});
  EXPECT_EQ(run.code, 0) << run.text;
  EXPECT_THAT(run.text, AllOf(HasSubstr("step 5/5"), HasSubstr("Publishing everything this job")));
  EXPECT_FALSE(std::filesystem::exists(state_dir_ + "/address")) << "its coordinator ended with it";

  // The same request is the same job, charged once.
  const CliOutcome again = Run({"run", folder_ + "/job.yaml", "--request_id", "once"});
  EXPECT_EQ(again.code, 0) << again.text;
  const CliOutcome ledger = Run({"ledger", "show"});
  EXPECT_THAT(ledger.text, AllOf(HasSubstr("job-1"), Not(HasSubstr("job-2"))));
  EXPECT_EQ(Run({"ledger", "verify"}).code, 0);
}

TEST_F(StoryTest, ARunningCoordinatorIsUsedInsteadOfASecondOne) {
  StartCoordinator();
  EXPECT_EQ(AddDataset().code, 0);
  const CliOutcome run = Run({"run", WriteSpec(3)});
  EXPECT_EQ(run.code, 0) << run.text;
  EXPECT_THAT(Run({"list"}).text, HasSubstr("SUCCEEDED"));
  EXPECT_TRUE(std::filesystem::exists(state_dir_ + "/address")) << "it is not ours to end";
}

TEST_F(StoryTest, WorkersAreHeldToTheSlotsOfACoordinatorOfOnesOwn) {
  AddDataset();
  ASSERT_EQ(Run({"run", WriteSpec(3), "--slots", "1"}).code, 0);
  ASSERT_OK(AtomicWriteFile(folder_ + "/prompts.jsonl", "{\"text\": \"a\"}\n"));
  const auto generate = [&](std::vector<std::string> options) {
    std::vector<std::string> arguments = {"generate",
                                          "--job",
                                          "job-1",
                                          "--prompts",
                                          folder_ + "/prompts.jsonl",
                                          "--out",
                                          folder_ + "/texts.jsonl"};
    arguments.insert(arguments.end(), options.begin(), options.end());
    return Run(std::move(arguments));
  };
  const std::string refused = "workers.count must be 1 to the coordinator's 2 slots, but is 3";
  for (const CliOutcome& outcome :
       {generate({"--workers", "3", "--slots", "2"}), Run({"run", WriteSpec(3, 3), "--slots", "2"}),
        Run({"plan", WriteSpec(3, 3), "--slots", "2"})}) {
    EXPECT_EQ(outcome.code, 2) << outcome.text;
    EXPECT_THAT(outcome.text, HasSubstr(refused));
  }
  // Unset: one per core, and not as many as are asked for.
  EXPECT_THAT(generate({"--workers", "100000"}).text, HasSubstr("slots, but is 100000"));
  EXPECT_EQ(generate({"--workers", "2", "--slots", "2"}).code, 0);
  EXPECT_TRUE(std::filesystem::exists(folder_ + "/texts.jsonl"));
}

TEST_F(StoryTest, InterruptingAWatchDetachesAndTheJobGoesOn) {
  StartCoordinator();
  AddDataset();
  ASSERT_EQ(Run({"submit", WriteSpec(100000)}).code, 0);
  ASSERT_OK_AND_ASSIGN(CliWatch watch, Start({"watch", "job-1"}));
  ASSERT_OK(watch.AwaitText("step "));
  watch.Interrupt();
  ASSERT_OK_AND_ASSIGN(const CliOutcome outcome, watch.Finish());
  EXPECT_EQ(outcome.code, 0);
  EXPECT_THAT(outcome.text, HasSubstr("job-1 keeps running; come back with: sotto watch job-1"));
  EXPECT_THAT(Run({"get", "job-1"}).text, HasSubstr("RUNNING"));
  EXPECT_EQ(Run({"wait", "job-1", "--timeout_seconds", "0.1"}).code, 5) << "it is still alive";
  EXPECT_EQ(Run({"cancel", "job-1"}).code, 0);
  EXPECT_EQ(Run({"wait", "job-1"}).code, 1);
}

TEST_F(StoryTest, APausedJobGoesOnWithOtherWorkersUnderTheSameWatch) {
  StartCoordinator();
  AddDataset();
  ASSERT_EQ(Run({"submit", WriteSpec(100000)}).code, 0);
  ASSERT_OK_AND_ASSIGN(CliWatch watch, Start({"watch", "job-1"}));
  ASSERT_OK(watch.AwaitText("step "));
  EXPECT_THAT(Run({"resume", "job-1"}).text, HasSubstr("job-1 is not paused: it is RUNNING"));
  const CliOutcome pause = Run({"pause", "job-1"});
  EXPECT_EQ(pause.code, 0);
  EXPECT_THAT(pause.text, HasSubstr("job-1 PAUS"));
  ASSERT_OK(watch.AwaitText("paused; `sotto resume job-1` goes on"));
  EXPECT_THAT(Run({"get", "job-1"}).text,
              AllOf(HasSubstr("PAUSED"), HasSubstr("`sotto resume job-1` goes on")));
  EXPECT_THAT(Run({"list", "--state", "PAUSED"}).text, HasSubstr("job-1"));

  const CliOutcome refused = Run({"resume", "job-1", "--workers", "5"});
  EXPECT_EQ(refused.code, 2);
  EXPECT_THAT(refused.text, HasSubstr("workers.count must be 1 to the coordinator's 4 slots"));
  const CliOutcome plan = Run({"resume", "job-1", "--workers", "3", "--validate_only"});
  EXPECT_EQ(plan.code, 0);
  EXPECT_THAT(plan.text, HasSubstr("budget"));
  const CliOutcome resume =
      Run({"resume", "job-1", "--workers", "2", "--strategy", "SHARD_GRAD_OP"});
  EXPECT_EQ(resume.code, 0) << resume.text;
  EXPECT_THAT(resume.text, HasSubstr(" on 2 workers, SHARD_GRAD_OP"));
  ASSERT_OK(watch.AwaitText("resumed: from 1 worker, FULL_SHARD to 2 workers, SHARD_GRAD_OP"));
  ASSERT_OK(watch.AwaitText("resumed at step "));

  EXPECT_EQ(Run({"pause", "job-1"}).code, 0);
  ASSERT_OK_AND_ASSIGN(CliWatch wait, Start({"wait", "job-1"}));
  ASSERT_OK(wait.AwaitText("job-1 is paused; `sotto resume job-1` goes on"));
  EXPECT_EQ(Run({"cancel", "job-1"}).code, 0);
  ASSERT_OK_AND_ASSIGN(const CliOutcome waited, wait.Finish());
  EXPECT_EQ(waited.code, 1) << waited.text;
  ASSERT_OK_AND_ASSIGN(const CliOutcome watched, watch.Finish());
  EXPECT_EQ(watched.code, 1) << watched.text;
}

TEST_F(StoryTest, AFollowedJobThatIsCancelledExitsWithOne) {
  StartCoordinator();
  AddDataset();
  ASSERT_OK_AND_ASSIGN(CliWatch follow, Start({"submit", WriteSpec(100000), "--follow"}));
  ASSERT_OK(follow.AwaitText("step "));
  EXPECT_EQ(Run({"cancel", "job-1"}).code, 0);
  ASSERT_OK_AND_ASSIGN(const CliOutcome outcome, follow.Finish());
  EXPECT_EQ(outcome.code, 1) << outcome.text;
  EXPECT_THAT(outcome.text, HasSubstr("cancelled"));
}

TEST_F(StoryTest, AWatchOutlivesItsCoordinator) {
  StartCoordinator();
  AddDataset();
  ASSERT_OK_AND_ASSIGN(CliWatch follow,
                       Start({"submit", WriteSpec(300), "--follow", "--output", "jsonl"}));
  ASSERT_OK(follow.AwaitText("\"step\""));
  coordinator_->Kill();
  StartCoordinator();
  ASSERT_OK_AND_ASSIGN(const CliOutcome outcome, follow.Finish());
  EXPECT_EQ(outcome.code, 0) << outcome.text;
  // Every event once, over both coordinators.
  for (int sequence : {1, 2, 3, 100, 300}) {
    const std::string field = absl::StrCat("\"sequence\":\"", sequence, "\"");
    const size_t first = outcome.text.find(field);
    ASSERT_NE(first, std::string::npos) << field;
    EXPECT_EQ(outcome.text.find(field, first + 1), std::string::npos) << field;
  }
  EXPECT_THAT(outcome.text, HasSubstr("\"SUCCEEDED\""));
}

TEST_F(StoryTest, ARunWhoseOwnCoordinatorIsKilledEndsAndItsJobIsKept) {
  AddDataset();
  ASSERT_OK_AND_ASSIGN(CliWatch run, Start({"run", WriteSpec(100000)}));
  ASSERT_OK(run.AwaitText("step "));
  pid_t coordinator = 0;
  for (const pid_t pid : ProcessesWith("--state_dir=" + state_dir_)) {
    absl::StatusOr<std::string> name = ReadFile(absl::StrCat("/proc/", pid, "/comm"));
    if (name.ok() && absl::StartsWith(*name, "sotto-coordinat")) coordinator = pid;
  }
  ASSERT_NE(coordinator, 0);
  ASSERT_EQ(kill(coordinator, SIGKILL), 0);
  ASSERT_OK_AND_ASSIGN(const CliOutcome outcome, run.Finish());
  EXPECT_EQ(outcome.code, 4) << outcome.text;
  EXPECT_THAT(outcome.text,
              AllOf(HasSubstr("killed by signal 9"),
                    HasSubstr("job-1 is stored and goes on with the next one: sotto --state_dir=" +
                              state_dir_ + " watch job-1")));
  StartCoordinator();
  EXPECT_EQ(Run({"cancel", "job-1"}).code, 0);
  EXPECT_EQ(Run({"wait", "job-1"}).code, 1) << "it was alive until it was cancelled";
}

TEST_F(StoryTest, AClientThatIsKilledTakesItsCoordinatorAlong) {
  AddDataset();
  {
    ASSERT_OK_AND_ASSIGN(CliWatch run, Start({"run", WriteSpec(100000)}));
    ASSERT_OK(run.AwaitText("step "));
  }  // Killed: nothing of the client runs any more.
  const UniqueFd lock(open((state_dir_ + "/lock").c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_TRUE(lock.is_valid());
  EXPECT_EQ(flock(lock.get(), LOCK_EX), 0) << "waits until the coordinator gives its state up";
  for (const pid_t pid : ProcessesWith(state_dir_))
    EXPECT_TRUE(AwaitEnd(pid));  // Its last moments.
  EXPECT_FALSE(std::filesystem::exists(state_dir_ + "/address"));
}

}  // namespace
}  // namespace sotto::integration
