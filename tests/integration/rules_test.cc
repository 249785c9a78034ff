// Jobs whose clip norm, noise and batches follow rules from step to step, when a worker is killed
// in between: the rules go on where the checkpoint left them, and nothing is released unpaid.
#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "common/base/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/integration/testing/event_log.h"
#include "tests/integration/testing/service_fixture.h"
#include "tests/integration/testing/tiny_job.h"

namespace sotto::integration {
namespace {

class RulesTest : public ServiceFixture {
 protected:
  void SetUp() override {
    ServiceFixture::SetUp();
    StartCoordinator();
  }

  // The reports of a job that lost a worker after step 25, in the order in which they came.
  std::vector<v1::StepReport> RunWithAKill(const v1::JobSpec& spec) {
    const WatchedJob job = Catch(spec, [&](WatchedJob& running) {
      ASSERT_TRUE(running.one->AwaitStep(25));
      WaitUpTo(absl::Milliseconds(50));
      KillWorker(running.id, 1);
    });
    if (job.one == nullptr) return {};
    std::vector<v1::StepReport> reports;
    for (const v1::JobEvent& event : job.one->Finish()) {
      if (event.has_step()) reports.push_back(event.step());
    }
    const absl::StatusOr<v1::Job> ended = client().GetJob(job.id);
    EXPECT_OK(ended);
    if (ended.ok()) {
      EXPECT_EQ(ended->state(), v1::SUCCEEDED) << ended->message();
      EXPECT_EQ(ended->attempt(), 2);
    }
    EXPECT_OK(client().VerifyLedger());
    return reports;
  }
};

// C is a function of the stream: whoever reads the reports can compute each step's, across the kill
// as well.
TEST_F(RulesTest, TheAdaptiveClipNormFollowsFromTheReportsAcrossAKill) {
  RegisterTinyDataset();
  v1::JobSpec spec = TinyJob();
  v1::AdaptiveClipping& adaptive = *spec.mutable_privacy()->mutable_clipping()->mutable_adaptive();
  adaptive.set_target_quantile(0.6);
  adaptive.set_learning_rate(0.05);
  v1::StepDecay& noise = *spec.mutable_privacy()->mutable_noise_schedule()->mutable_step();
  noise.set_every_steps(100);
  noise.set_factor(0.9);
  spec.mutable_train()->mutable_optimizer()->mutable_adamw()->mutable_noise_correction();
  std::map<int64_t, v1::StepReport> by_step;  // the latest attempt's
  int followed = 0;
  for (const v1::StepReport& report : RunWithAKill(spec)) {
    EXPECT_NEAR(report.noise_multiplier(), 4 * std::pow(0.9, report.step() / 100), 1e-12);
    if (const auto before = by_step.find(report.step() - 1); before != by_step.end()) {
      const double not_clipped = 1 - before->second.noised_clip_fraction();
      const double expected = before->second.clip_norm() * std::exp(-0.05 * (not_clipped - 0.6));
      // The default bounds are 1/1000 and 1000.
      EXPECT_NEAR(report.clip_norm() / std::clamp(expected, 1e-3, 1e3), 1, 1e-12)
          << "step " << report.step() << " of attempt " << report.attempt();
      ++followed;
    }
    by_step[report.step()] = report;
  }
  EXPECT_GE(followed, 399);
}

// 64 places in batches of 4: epochs of 16 steps. An epoch that is gone on with shows its records at
// most once more, and costs one epoch more.
TEST_F(RulesTest, AnEpochThatIsGoneOnWithIsPaidAgain) {
  v1::RegisterDatasetRequest request = TinyDataset("tiny", dataset_path_);
  request.mutable_budget()->set_adjacency("zero_out");
  ASSERT_OK(client().Register(request));
  v1::JobSpec spec = TinyJob();
  spec.mutable_data()->mutable_sampler()->mutable_shuffled();
  const std::vector<v1::StepReport> reports = RunWithAKill(spec);
  ASSERT_GE(reports.size(), 400);
  int kills = 0;
  for (size_t i = 1; i < reports.size(); ++i) {
    const bool new_attempt = reports[i].attempt() != reports[i - 1].attempt();
    const bool new_epoch = reports[i].step() % 16 == 0;
    kills += new_attempt;
    if (new_attempt || new_epoch) {
      EXPECT_GT(reports[i].epsilon(), reports[i - 1].epsilon()) << "step " << reports[i].step();
    } else {
      EXPECT_EQ(reports[i].epsilon(), reports[i - 1].epsilon()) << "step " << reports[i].step();
    }
  }
  EXPECT_EQ(kills, 1);
}

// From step 15 on weight decay multiplies weights by -1e6, step after step: the plan says so.
TEST_F(RulesTest, AJobWhoseParametersOverflowFailsAndIsNotTriedAgain) {
  RegisterTinyDataset();
  v1::JobSpec spec = TinyJob({.steps = 30});
  v1::TrainSpec& train = *spec.mutable_train();
  train.mutable_optimizer()->mutable_adamw()->set_weight_decay(1e6);
  train.mutable_learning_rate()->set_peak(1e-6);
  train.mutable_learning_rate()->mutable_step()->set_every_steps(15);
  train.mutable_learning_rate()->mutable_step()->set_factor(1e6);
  ASSERT_OK_AND_ASSIGN(const v1::Job job, client().Submit(spec));
  EventLog log(address(), job.id());
  log.Finish();
  ASSERT_OK_AND_ASSIGN(const v1::Job ended, client().GetJob(job.id()));
  EXPECT_EQ(ended.state(), v1::FAILED);
  EXPECT_EQ(ended.reason(), v1::INTERNAL);
  EXPECT_THAT(ended.message(), ::testing::HasSubstr("made parameters infinite or NaN"));
  EXPECT_EQ(ended.attempt(), 1);
  EXPECT_OK(client().VerifyLedger());
}

}  // namespace
}  // namespace sotto::integration
