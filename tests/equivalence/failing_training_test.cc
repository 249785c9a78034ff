// Trainings that cannot go on: with which reason they end, and what they leave.
#include <filesystem>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/base/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/equivalence/training_run.h"
#include "worker/comm/solo_communicator.h"
#include "worker/comm/testing/rank_processes.h"
#include "worker/grant/grant_gate.h"
#include "worker/train/failure_reason.h"
#include "worker/train/train_observer.h"
#include "worker/training.h"

namespace sotto::equivalence {
namespace {

using ::testing::HasSubstr;

std::string NewDirectory() { return *MakeTempDir(absl::StrCat(::testing::TempDir(), "/sotto-")); }

class CountingObserver : public train::TrainObserver {
 public:
  void OnProgress(int64_t, double) override {}
  void OnStep(const dp::NoisedMetrics&, double, double) override { ++steps; }
  void OnEvaluation(int64_t, double) override {}
  void OnCheckpoint(int64_t, const std::string&) override {}
  void OnNote(const std::string&) override {}

  int steps = 0;
};

// A training of one rank in this process.
absl::Status RunAlone(const RunOptions& options, CountingObserver& observer) {
  const v1::JobPlan plan = MakePlan(NewDirectory(), options);
  comm::SoloCommunicator communicator;
  grant::GrantGate gate({.attempt = 1, .end_step = options.end_step, .clock = &RealClock::Get()});
  RETURN_IF_ERROR(gate.Extend({.first_step = 0, .end_step = options.end_step, .attempt = 1}));
  ASSIGN_OR_RETURN(const std::unique_ptr<Training> training,
                   Training::Create({.plan = plan,
                                     .job = "job-1",
                                     .attempt = 1,
                                     .checkpoint_directory = options.checkpoint_directory,
                                     .end_step = options.end_step},
                                    crypto::Secret::FromPublicSeed(plan.spec().privacy().seed()),
                                    {.communicator = communicator,
                                     .gate = gate,
                                     .observer = observer,
                                     .clock = RealClock::Get()}));
  return training->Run().status();
}

// A learning rate beyond float32 from step 2 on.
RunOptions Overflowing() {
  RunOptions options{.noise_multiplier = 0.5, .sgd_learning_rate = 1e-3};
  options.checkpoint_directory = NewDirectory();
  options.adjust = [](v1::JobPlan& plan) {
    v1::StepDecay& step =
        *plan.mutable_spec()->mutable_train()->mutable_learning_rate()->mutable_step();
    step.set_every_steps(2);
    step.set_factor(1e45);
  };
  return options;
}

TEST(FailingTrainingTest, ParametersThatOverflowEndItWithAReason) {
  const RunOptions options = Overflowing();
  CountingObserver observer;
  const absl::Status status = RunAlone(options, observer);
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kOutOfRange,
                               HasSubstr("step 2 made parameters infinite or NaN")));
  EXPECT_EQ(train::FailureReasonOf(status), train::FailureReason::kNotFinite);
  EXPECT_EQ(observer.steps, 2);
  EXPECT_TRUE(std::filesystem::is_empty(options.checkpoint_directory));
}

TEST(FailingTrainingTest, ParametersThatOverflowEndEveryRank) {
  RunOptions options = Overflowing();
  options.world_size = 2;
  EXPECT_FALSE(Train(NewDirectory(), options).succeeded);
  EXPECT_TRUE(std::filesystem::is_empty(options.checkpoint_directory));
  options.end_step = 2;
  EXPECT_TRUE(Train(NewDirectory(), options).succeeded);
}

TEST(FailingTrainingTest, APlanWithImpossibleNumbersIsNotTriedAgain) {
  RunOptions options;
  options.adjust = [](v1::JobPlan& plan) {
    plan.mutable_privacy()->mutable_clipping()->set_rule(v1::ClippingPlan::AUTOMATIC);
    plan.mutable_privacy()->mutable_clipping()->set_gamma(1e-10);
  };
  CountingObserver observer;
  const absl::Status status = RunAlone(options, observer);
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("gamma")));
  EXPECT_EQ(train::FailureReasonOf(status), train::FailureReason::kPlanCannotRun);
}

}  // namespace
}  // namespace sotto::equivalence

int main(int argc, char** argv) { return sotto::comm::RankTestMain(argc, argv); }
