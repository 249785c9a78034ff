#include "client/live_view.h"

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "client/promise.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sotto::client {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

v1::Job MakeJob() {
  v1::Job job;
  job.set_id("job-7");
  job.set_state(v1::SUCCEEDED);
  job.set_reason(v1::STEPS_DONE);
  job.set_completed_steps(10);
  job.set_epsilon(2.5);
  job.mutable_plan()->mutable_spec()->mutable_model()->mutable_gpt2()->set_width(64);
  job.mutable_plan()->mutable_train()->set_steps(10);
  job.mutable_plan()->mutable_dataset()->set_budgeted(true);
  job.mutable_plan()->mutable_privacy()->set_epsilon(3);
  job.mutable_plan()->mutable_privacy()->set_delta(1e-6);
  return job;
}

v1::JobEvent MakeStep(int64_t step, int64_t milliseconds, double loss = 3.25) {
  v1::JobEvent event;
  event.mutable_time()->set_seconds(milliseconds / 1000);
  event.mutable_time()->set_nanos(milliseconds % 1000 * 1000000);
  v1::StepReport& report = *event.mutable_step();
  report.set_step(step);
  report.set_noised_mean_loss(loss);
  report.set_smoothed_mean_loss(loss);
  report.set_mean_loss_standard_error(0.05);
  report.set_corrected_gradient_norm(0.125);
  report.set_gradient_norm_resolution(0.01);
  report.set_epsilon(1.5);
  report.set_budget_left_epsilon(5.5);
  report.set_steps_per_second(2);
  return event;
}

v1::JobEvent MakeEvaluation(int64_t step, double loss) {
  v1::JobEvent event;
  event.mutable_evaluation()->set_step(step);
  event.mutable_evaluation()->set_evaluation_loss(loss);
  return event;
}

LiveView MakeView(bool is_terminal, int width = 200) {
  LiveView view({.is_terminal = is_terminal, .width = width});
  view.OnJob(MakeJob());
  return view;
}

TEST(LiveViewTest, AStepShowsEverythingThatThePromiseCovers) {
  LiveView view = MakeView(/*is_terminal=*/false);
  EXPECT_EQ(view.OnEvent(MakeStep(3, 0)),
            "step 4/10  loss 3.250±0.05 (3.250 smoothed)  grad 0.125  eps 1.500  budget left 5.500 "
            " 2 steps/s  3s left\n");
}

TEST(LiveViewTest, AccuracyIsShownWithItsNoise) {
  v1::JobEvent event = MakeStep(3, 0);
  event.mutable_step()->set_noised_accuracy(0.625);
  event.mutable_step()->set_accuracy_standard_error(0.02);
  EXPECT_THAT(MakeView(/*is_terminal=*/false).OnEvent(event),
              HasSubstr("(3.250 smoothed)  acc 0.625±0.02  grad 0.125"));
  EXPECT_THAT(MakeView(/*is_terminal=*/true, /*width=*/80).OnEvent(event),
              HasSubstr("(3.25) acc 0.625±0.02 grad 0.125"));
}

TEST(LiveViewTest, RawAccuracyTakesTheNoisedOnesPlace) {
  v1::JobEvent event = MakeStep(3, 0);
  event.mutable_step()->set_noised_accuracy(0.625);
  event.mutable_step()->mutable_raw()->set_accuracy(0.5);
  const std::string text = MakeView(/*is_terminal=*/false).OnEvent(event);
  EXPECT_THAT(text, HasSubstr("raw acc 0.500  grad 0.125"));
  EXPECT_THAT(text, Not(HasSubstr("0.625")));
  event.mutable_step()->mutable_raw()->clear_accuracy();
  EXPECT_THAT(MakeView(/*is_terminal=*/false).OnEvent(event), Not(HasSubstr("acc")));
}

TEST(LiveViewTest, WithoutATerminalStepsAreThinnedToOneASecondAndTheLastIsShown) {
  LiveView view = MakeView(/*is_terminal=*/false);
  EXPECT_THAT(view.OnEvent(MakeStep(0, 1000)), Not(IsEmpty()));
  EXPECT_THAT(view.OnEvent(MakeStep(1, 1999)), IsEmpty());
  EXPECT_THAT(view.OnEvent(MakeStep(2, 2000)), Not(IsEmpty()));
  EXPECT_THAT(view.OnEvent(MakeStep(9, 2001)), StartsWith("step 10/10"));
}

TEST(LiveViewTest, OnATerminalTheLineIsOverwrittenAndNeverWraps) {
  LiveView view = MakeView(/*is_terminal=*/true, /*width=*/30);
  view.OnEvent(MakeStep(0, 0));
  const std::string text = view.OnEvent(MakeStep(1, 1));
  EXPECT_THAT(text, StartsWith("\rstep 2/10 "));
  EXPECT_THAT(text, EndsWith("\x1b[K"));
  EXPECT_THAT(text, Not(HasSubstr("\n")));
  int characters = 0;
  for (unsigned char c : text) characters += (c & 0xC0) != 0x80;
  EXPECT_EQ(characters, 1 + 29 + 3);  // "\r", the line, the escape sequence
}

TEST(LiveViewTest, EightyColumnsHoldEveryNumberAndASparkline) {
  LiveView view = MakeView(/*is_terminal=*/true, /*width=*/80);
  for (int step = 0; step < 9; ++step) view.OnEvent(MakeStep(step, step));
  const std::string text = view.OnEvent(MakeStep(9, 9, 4.5));
  EXPECT_THAT(text, StartsWith("\rstep 10/10 loss 4.5±0.05 (4.5) grad 0.125 eps 1.500 left 5.5 "
                               "2/s 0s ▁▁▁"));
  EXPECT_THAT(text, EndsWith("█\x1b[K"));
}

TEST(LiveViewTest, OtherEventsStayAboveTheLineInPlace) {
  LiveView view = MakeView(/*is_terminal=*/true);
  view.OnEvent(MakeStep(0, 0));
  const std::string text = view.OnEvent(MakeEvaluation(1, 3.5));
  EXPECT_THAT(text, StartsWith("\r\x1b[Kheld-out loss 3.5000 after 1 steps\nstep 1/10"));
  EXPECT_EQ(view.Leave(), "\n");
  EXPECT_EQ(view.Leave(), "");
}

TEST(LiveViewTest, TheSparklineFollowsTheLossAndSurvivesNan) {
  LiveView view = MakeView(/*is_terminal=*/true);
  view.OnEvent(MakeStep(0, 0, 4));
  view.OnEvent(MakeStep(1, 1, 3));
  EXPECT_THAT(view.OnEvent(MakeStep(2, 2, 2)), HasSubstr(" █▄▁"));
  EXPECT_THAT(view.OnEvent(MakeStep(3, 3, std::nan(""))), HasSubstr("?"));
}

TEST(LiveViewTest, ANormBelowTheNoiseIsShownAsABound) {
  LiveView view = MakeView(/*is_terminal=*/false);
  v1::JobEvent event = MakeStep(0, 0);
  event.mutable_step()->set_corrected_gradient_norm(0);
  EXPECT_THAT(view.OnEvent(event), HasSubstr("grad <0.01 "));
}

TEST(LiveViewTest, CheckpointsAreLeftToTheSummary) {
  LiveView view = MakeView(/*is_terminal=*/false);
  v1::JobEvent event;
  event.mutable_checkpoint()->set_step(4);
  EXPECT_EQ(view.OnEvent(event), "");
}

TEST(LiveViewTest, StatesAreWords) {
  LiveView view = MakeView(/*is_terminal=*/false);
  v1::JobEvent event;
  event.mutable_state()->set_state(v1::RECOVERING);
  event.mutable_state()->set_reason(v1::WORKER_LOST);
  event.mutable_state()->set_message("rank 1 was killed by signal 9");
  EXPECT_EQ(view.OnEvent(event), "recovering: worker lost: rank 1 was killed by signal 9\n");
}

v1::JobEvent MakePause(int64_t seconds) {
  v1::JobEvent event;
  event.mutable_state()->set_state(v1::PAUSED);
  event.mutable_state()->set_reason(v1::USER_REQUEST);
  event.mutable_state()->mutable_time()->set_seconds(seconds);
  return event;
}

TEST(LiveViewTest, APausedJobSaysHowItGoesOn) {
  LiveView view = MakeView(/*is_terminal=*/false);
  EXPECT_EQ(view.OnEvent(MakePause(20)),
            "paused: user request\npaused; `sotto resume job-7` goes on\n");
  EXPECT_EQ(view.PauseHint(MakePause(20)), "paused; `sotto resume job-7` goes on");
  EXPECT_EQ(view.PauseHint(MakeStep(1, 20000)), "");
}

TEST(LiveViewTest, APauseThatWasOverBeforeTheWatchBeganIsOnlyTold) {
  v1::Job job = MakeJob();
  job.add_history()->mutable_time()->set_seconds(30);
  LiveView view(LiveView::Options{});
  view.OnJob(job);
  EXPECT_EQ(view.OnEvent(MakePause(20)), "paused: user request\n");
  EXPECT_NE(view.PauseHint(MakePause(30)), "") << "the job's last change itself";
}

TEST(LiveViewTest, TheSummaryHasLossesEpsilonCheckpointPromiseAndNextStep) {
  LiveView view = MakeView(/*is_terminal=*/false);
  view.OnEvent(MakeEvaluation(0, 5.5));
  view.OnEvent(MakeEvaluation(10, 3.25));
  v1::Job job = MakeJob();
  job.set_checkpoint_path("/state/jobs/job-7/checkpoints/step-10");
  job.set_checkpoint_step(10);
  const std::string summary = view.Summary(job);
  EXPECT_THAT(summary, StartsWith("job-7 succeeded (steps done) after 10 steps\n"));
  EXPECT_THAT(summary, HasSubstr("5.5000 before, 3.2500 after"));
  EXPECT_THAT(summary, HasSubstr("2.5000 of at most 3.0000 planned"));
  EXPECT_THAT(summary, HasSubstr("/state/jobs/job-7/checkpoints/step-10 (after 10 steps)"));
  EXPECT_THAT(summary, HasSubstr("at most epsilon = 3, delta = 1e-06."));
  EXPECT_THAT(summary, HasSubstr("sotto export job-7"));
}

TEST(LiveViewTest, TheSummaryOfInferencePromisesNothing) {
  v1::Job job = MakeJob();
  job.mutable_plan()->mutable_inference()->set_prompts(3);
  job.set_reason(v1::INFERENCE_DONE);
  EXPECT_EQ(MakeView(/*is_terminal=*/false).Summary(job), "job-7 succeeded (inference done)\n");
}

TEST(LiveViewTest, TheSummaryProposesNoExportThatWouldBeRefused) {
  LiveView view = MakeView(/*is_terminal=*/false);
  v1::Job job = MakeJob();
  job.set_checkpoint_path("/state/jobs/job-7/checkpoints/step-10");
  v1::ModelSpec& model = *job.mutable_plan()->mutable_spec()->mutable_model();
  EXPECT_THAT(view.Summary(job), HasSubstr("sotto export"));
  model.mutable_adaptation()->mutable_lora()->set_rank(4);
  EXPECT_THAT(view.Summary(job), HasSubstr("sotto export"));  // Adapters are merged.
  model.Clear();
  model.mutable_encoder();
  EXPECT_THAT(view.Summary(job), Not(HasSubstr("sotto export")));
  EXPECT_THAT(view.Summary(job), HasSubstr("/state/jobs/job-7/checkpoints/step-10"));
}

// Planned for 8, reserved for 11.3774: half as many steps again.
v1::Job MakeJobWithReserve() {
  v1::Job job = MakeJob();
  v1::PrivacyPlan& privacy = *job.mutable_plan()->mutable_privacy();
  privacy.set_epsilon(8);
  privacy.set_planned_steps(10);
  privacy.set_charged_steps(15);
  privacy.set_reserved_epsilon(11.3774);
  job.mutable_plan()->mutable_dataset()->set_budget_delta(1e-6);
  job.set_epsilon(7.25);
  return job;
}

TEST(LiveViewTest, WithACrashReserveTheSummaryNamesBothBounds) {
  const std::string summary = MakeView(/*is_terminal=*/false).Summary(MakeJobWithReserve());
  EXPECT_THAT(summary, HasSubstr("epsilon spent   7.2500 of at most 11.3774 reserved (8.0000 "
                                 "planned if no attempt is lost)\n"));
  EXPECT_THAT(summary, HasSubstr("by at most epsilon = 8, delta = 1e-06 if no attempt is lost, and "
                                 "at most epsilon = 11.38, delta = 1e-06 with the crash reserve."));
}

TEST(LiveViewTest, AJobThatLostAttemptsIsPromisedItsReserveAlone) {
  v1::Job job = MakeJobWithReserve();
  job.set_restarts(2);
  for (const double spent : {7.25, 8.1986}) {
    job.set_epsilon(spent);
    const std::string summary = MakeView(/*is_terminal=*/false).Summary(job);
    EXPECT_THAT(summary, HasSubstr("by at most epsilon = 11.38, delta = 1e-06 (attempts were lost"))
        << summary;
    EXPECT_THAT(summary, Not(HasSubstr("epsilon = 8")));
  }
}

TEST(PromiseTest, ALooserAccountantIsNoReserve) {
  v1::JobPlan plan = MakeJobWithReserve().plan();
  plan.mutable_privacy()->set_charged_steps(10);
  EXPECT_EQ(BoundsOf(plan).reserved, 8);
  EXPECT_THAT(Promise(plan), HasSubstr("by at most epsilon = 8, delta = 1e-06. Unit"));
  // Ten steps of three epochs, one epoch of which is a reserve.
  plan.mutable_privacy()->mutable_sampler()->set_steps_per_epoch(4);
  plan.mutable_privacy()->set_charged_steps(3);
  EXPECT_FALSE(BoundsOf(plan).has_reserve());
  plan.mutable_privacy()->set_charged_steps(4);
  EXPECT_TRUE(BoundsOf(plan).has_reserve());
}

TEST(PromiseTest, TheReserveHoldsAtTheBudgetsDeltaWhereThatIsTheLarger) {
  v1::JobPlan plan = MakeJobWithReserve().plan();
  plan.mutable_dataset()->set_budget_delta(1e-5);
  EXPECT_THAT(Promise(plan), HasSubstr("at most epsilon = 11.38, delta = 1e-05 with the crash"));
}

TEST(PromiseTest, IsRoundedUpwards) {
  v1::JobPlan plan;
  for (const auto& [epsilon, text] :
       std::vector<std::pair<double, std::string>>{{8, "8,"},
                                                   {8.1984, "8.199,"},
                                                   {0.3, "0.3,"},
                                                   {2.5, "2.5,"},
                                                   {7.9999, "8,"},
                                                   {0.012341, "0.01235,"},
                                                   {12345, "1.235e+04,"}}) {
    plan.mutable_privacy()->set_epsilon(epsilon);
    EXPECT_THAT(Promise(plan), HasSubstr("epsilon = " + text));
  }
}

TEST(PromiseTest, AJobThatIsNotPrivatePromisesNothing) {
  v1::JobPlan plan;
  plan.mutable_privacy()->set_not_private(true);
  EXPECT_THAT(Promise(plan), HasSubstr("may reveal any record"));
}

}  // namespace
}  // namespace sotto::client
