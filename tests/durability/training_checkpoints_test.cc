// What a training leaves in its folder of checkpoints.
#include <algorithm>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/base/status_matchers.h"
#include "common/checkpoint/checkpoint_folder.h"
#include "common/checkpoint/checkpoint_reader.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/equivalence/training_run.h"
#include "worker/comm/solo_communicator.h"
#include "worker/comm/testing/rank_processes.h"
#include "worker/grant/grant_gate.h"
#include "worker/train/train_observer.h"
#include "worker/training.h"

namespace sotto {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::Ge;
using ::testing::HasSubstr;
using ::testing::Le;

class CheckpointObserver : public train::TrainObserver {
 public:
  void OnProgress(int64_t, double) override {}
  void OnStep(const dp::NoisedMetrics&, double, double) override { ++steps; }
  void OnEvaluation(int64_t step, double loss) override {
    evaluated.push_back(step);
    losses.push_back(loss);
  }
  void OnCheckpoint(int64_t step, const std::string&) override { saved.push_back(step); }
  void OnNote(const std::string&) override {}

  int64_t steps = 0;
  std::vector<int64_t> evaluated;
  std::vector<double> losses;
  std::vector<int64_t> saved;
};

class TrainingCheckpointsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(folder_, MakeTempDir(::testing::TempDir() + "/training-"));
    options_.end_step = 6;
    options_.noise_multiplier = 0.5;
    options_.checkpoint_directory = folder_ + "/job/checkpoints";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  // A training of one rank in this process.
  absl::Status Run(crypto::Secret secret) {
    const v1::JobPlan plan = equivalence::MakePlan(folder_, options_);
    comm::SoloCommunicator communicator;
    grant::GrantGate gate(
        {.attempt = 1, .end_step = options_.end_step, .clock = &RealClock::Get()});
    RETURN_IF_ERROR(gate.Extend({.first_step = 0, .end_step = options_.end_step, .attempt = 1}));
    ASSIGN_OR_RETURN(const std::unique_ptr<Training> training,
                     Training::Create({.plan = plan,
                                       .job = "job-1",
                                       .attempt = 1,
                                       .checkpoint_directory = options_.checkpoint_directory,
                                       .end_step = options_.end_step},
                                      std::move(secret),
                                      {.communicator = communicator,
                                       .gate = gate,
                                       .observer = observer_,
                                       .clock = RealClock::Get()}));
    return training->Run().status();
  }

  absl::Status Run() { return Run(crypto::Secret::FromPublicSeed(3)); }

  std::vector<int64_t> KeptSteps() const {
    std::vector<int64_t> steps;
    for (const auto& name : checkpoint::ListCheckpoints(options_.checkpoint_directory)) {
      steps.push_back(name.step);
    }
    return steps;
  }

  std::string folder_;
  equivalence::RunOptions options_;
  CheckpointObserver observer_;
};

TEST_F(TrainingCheckpointsTest, SecretsAreNowhere) {
  std::random_device device;
  std::string secret;
  while (secret.size() < 32) secret.push_back(static_cast<char>(device()));
  options_.adjust = [](v1::JobPlan& plan) { plan.mutable_train()->set_checkpoint_every_steps(2); };
  ASSERT_OK(Run(crypto::Secret(secret)));
  int files = 0;
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(options_.checkpoint_directory)) {
    if (!entry.is_regular_file()) continue;
    ++files;
    ASSERT_OK_AND_ASSIGN(const std::string bytes, ReadFile(entry.path().string()));
    // Whole, or in the forms that text gives it; half of it would be as bad.
    for (const std::string& half : {secret.substr(0, 16), secret.substr(16)}) {
      EXPECT_FALSE(absl::StrContains(bytes, half)) << entry.path();
      EXPECT_FALSE(absl::StrContains(bytes, absl::BytesToHexString(half))) << entry.path();
    }
    EXPECT_FALSE(absl::StrContains(bytes, absl::Base64Escape(secret).substr(0, 40)))
        << entry.path();
  }
  EXPECT_GE(files, 7);  // three checkpoints of two files, and the latest pointer
}

TEST_F(TrainingCheckpointsTest, PositionsStandInTheManifest) {
  options_.adjust = [](v1::JobPlan& plan) {
    plan.mutable_train()->set_checkpoint_every_steps(4);
    plan.mutable_privacy()->set_delta(1e-6);
    plan.mutable_privacy()->mutable_segments(0)->set_noise_multiplier(0.75);
    v1::NoiseSegment later = plan.privacy().segments(0);
    later.set_first_step(5);
    later.set_noise_multiplier(0.5);
    *plan.mutable_privacy()->add_segments() = later;
  };
  ASSERT_OK(Run());
  EXPECT_THAT(observer_.saved, ElementsAre(4, 6));
  ASSERT_OK_AND_ASSIGN(const auto found,
                       checkpoint::FindLatestCheckpoint(options_.checkpoint_directory));
  const v1::CheckpointManifest& manifest = found.checkpoint->manifest();
  EXPECT_EQ(manifest.sampler().kind(), "poisson");
  EXPECT_EQ(manifest.sampler().next_step(), 6);
  EXPECT_EQ(manifest.sampler().sampling_rate(), 0.5);
  EXPECT_EQ(manifest.accountant().delta(), 1e-6);
  ASSERT_EQ(manifest.accountant().released_size(), 2);
  EXPECT_EQ(manifest.accountant().released(0).noise_multiplier(), 0.75);
  EXPECT_EQ(manifest.accountant().released(0).end_step(), 5);
  EXPECT_EQ(manifest.accountant().released(1).first_step(), 5);
  EXPECT_EQ(manifest.accountant().released(1).end_step(), 6);
}

// A learning rate that makes the model worse, so that the best checkpoint is an early one.
TEST_F(TrainingCheckpointsTest, TheBestIsKeptBesideTheNewest) {
  options_.end_step = 8;
  options_.sgd_learning_rate = 3;
  options_.noise_multiplier = 2;
  options_.adjust = [](v1::JobPlan& plan) {
    plan.mutable_train()->set_checkpoint_every_steps(1);
    plan.mutable_train()->set_checkpoint_keep(1);
    plan.mutable_train()->set_checkpoint_keep_best(1);
    plan.mutable_spec()->mutable_data()->set_public_evaluation_file(plan.dataset().path());
  };
  ASSERT_OK(Run());
  EXPECT_THAT(observer_.evaluated, ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8));
  // The model at step 0 is not saved.
  const auto best = std::min_element(observer_.losses.begin() + 1, observer_.losses.end());
  const int64_t best_step = best - observer_.losses.begin();
  ASSERT_LT(best_step, 8);
  EXPECT_THAT(KeptSteps(), ElementsAre(8, best_step));
  ASSERT_OK_AND_ASSIGN(
      const v1::CheckpointManifest manifest,
      checkpoint::ReadManifest(absl::StrCat(options_.checkpoint_directory, "/",
                                            checkpoint::DirectoryName({best_step, 1}))));
  EXPECT_EQ(manifest.evaluation_loss(), *best);
}

TEST_F(TrainingCheckpointsTest, AResumeReadsNoInitialWeights) {
  equivalence::RunOptions straight = options_;
  straight.checkpoint_directory = "";
  const equivalence::RunResult expected = equivalence::Train(folder_, straight);
  ASSERT_TRUE(expected.succeeded);
  options_.end_step = 4;
  ASSERT_TRUE(equivalence::Train(folder_, options_).succeeded);
  options_.first_step = 4;
  options_.end_step = 6;
  options_.adjust = [](v1::JobPlan& plan) {
    plan.mutable_spec()->mutable_model()->set_hugging_face_directory("/moved/away");
  };
  const equivalence::RunResult resumed = equivalence::Train(folder_, options_);
  ASSERT_TRUE(resumed.succeeded);
  EXPECT_EQ(resumed.parameters, expected.parameters);
}

// The disk refuses: whoever notices first, at the next step or the next save, it ends the training.
TEST_F(TrainingCheckpointsTest, SavesThatFailEndIt) {
  ASSERT_OK(AtomicWriteFile(folder_ + "/job", "a file where the folder would be"));
  options_.adjust = [](v1::JobPlan& plan) { plan.mutable_train()->set_checkpoint_every_steps(1); };
  EXPECT_THAT(Run(), StatusIs(absl::StatusCode::kUnavailable, HasSubstr("job")));
  EXPECT_THAT(observer_.steps, AllOf(Ge(1), Le(2)));
}

TEST_F(TrainingCheckpointsTest, SavesThatFailEndEveryRank) {
  ASSERT_OK(AtomicWriteFile(folder_ + "/job", "a file where the folder would be"));
  options_.world_size = 2;
  EXPECT_FALSE(equivalence::Train(folder_, options_).succeeded);
}

}  // namespace
}  // namespace sotto

int main(int argc, char** argv) { return sotto::comm::RankTestMain(argc, argv); }
