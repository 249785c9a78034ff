#include "worker/grant/grant_gate.h"

#include <thread>
#include <type_traits>
#include <vector>

#include "common/base/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sotto::grant {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Optional;

static_assert(!std::is_copy_constructible_v<StepGrant>);
static_assert(!std::is_default_constructible_v<StepGrant>);
static_assert(!std::is_constructible_v<StepGrant, int64_t, int64_t>);

class GrantGateTest : public ::testing::Test {
 protected:
  GrantGate::Options MakeOptions() {
    GrantGate::Options options;
    options.attempt = 3;
    options.end_step = 100;
    options.coordinator_grace = absl::Minutes(5);
    options.clock = &clock_;
    options.request_more = [this](int64_t first_step) { requests_.push_back(first_step); };
    return options;
  }

  SimulatedClock clock_;
  std::vector<int64_t> requests_;
  GrantGate gate_{MakeOptions()};
};

TEST_F(GrantGateTest, GrantedStepIsAuthorisedAtOnce) {
  ASSERT_OK(gate_.Extend({/*first_step=*/10, /*end_step=*/12, /*attempt=*/3}));
  ASSERT_OK_AND_ASSIGN(StepGrant grant, gate_.Authorize(10));
  EXPECT_EQ(grant.step(), 10);
  EXPECT_EQ(grant.attempt(), 3);
  EXPECT_EQ(gate_.next_step(), 11);
}

TEST_F(GrantGateTest, StepIsAuthorisedOnlyOnce) {
  ASSERT_OK(gate_.Extend({0, 10, 3}));
  ASSERT_OK(gate_.Authorize(4));
  EXPECT_THAT(gate_.Authorize(4), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(gate_.Authorize(3), StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST_F(GrantGateTest, OtherAttemptsAreRefused) {
  EXPECT_THAT(gate_.Extend({0, 10, 2}), StatusIs(absl::StatusCode::kAborted));
  EXPECT_THAT(gate_.Extend({0, 10, 4}), StatusIs(absl::StatusCode::kAborted));
}

TEST_F(GrantGateTest, EmptyRangesAreRefused) {
  EXPECT_THAT(gate_.Extend({5, 5, 3}), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(gate_.Extend({-1, 5, 3}), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_F(GrantGateTest, BlocksUntilGranted) {
  std::thread trainer([this] { EXPECT_THAT(gate_.Authorize(0), IsOk()); });
  clock_.AwaitWaiters(1);
  EXPECT_EQ(gate_.next_step(), -1);
  ASSERT_OK(gate_.Extend({0, 1, 3}));
  trainer.join();
  EXPECT_EQ(gate_.next_step(), 1);
}

TEST_F(GrantGateTest, UngrantedStepWaitsForGraceThenExpires) {
  ASSERT_OK(gate_.Extend({0, 1, 3}));
  ASSERT_OK(gate_.Authorize(0));
  std::thread trainer(
      [this] { EXPECT_THAT(gate_.Authorize(1), StatusIs(absl::StatusCode::kDeadlineExceeded)); });
  clock_.AwaitWaiters(1);
  clock_.Advance(absl::Minutes(5) - absl::Seconds(1));
  clock_.AwaitWaiters(1);
  EXPECT_EQ(gate_.next_step(), 1);
  clock_.Advance(absl::Seconds(1));
  trainer.join();
}

TEST_F(GrantGateTest, UngrantedStepIsNotAuthorised) {
  GrantGate::Options options = MakeOptions();
  options.coordinator_grace = absl::ZeroDuration();
  GrantGate gate(options);
  ASSERT_OK(gate.Extend({0, 1, 3}));
  ASSERT_OK(gate.Authorize(0));
  EXPECT_THAT(gate.Authorize(1), StatusIs(absl::StatusCode::kDeadlineExceeded));
}

TEST_F(GrantGateTest, CheckpointStopRefusesGrantedSteps) {
  ASSERT_OK(gate_.Extend({0, 10, 3}));
  gate_.Stop(StopMode::kCheckpoint);
  EXPECT_THAT(gate_.Authorize(0), StatusIs(absl::StatusCode::kCancelled));
  EXPECT_THAT(gate_.stop_mode(), Optional(StopMode::kCheckpoint));
}

TEST_F(GrantGateTest, FinishUsesUpGrantedSteps) {
  ASSERT_OK(gate_.Extend({0, 2, 3}));
  gate_.Stop(StopMode::kFinish);
  EXPECT_OK(gate_.Authorize(0));
  EXPECT_OK(gate_.Authorize(1));
  EXPECT_THAT(gate_.Authorize(2), StatusIs(absl::StatusCode::kCancelled));
}

TEST_F(GrantGateTest, StopWakesABlockedTrainer) {
  std::thread trainer(
      [this] { EXPECT_THAT(gate_.Authorize(0), StatusIs(absl::StatusCode::kCancelled)); });
  clock_.AwaitWaiters(1);
  gate_.Stop(StopMode::kAbort);
  trainer.join();
}

TEST_F(GrantGateTest, StrongerStopReplacesWeaker) {
  gate_.Stop(StopMode::kFinish);
  gate_.Stop(StopMode::kAbort);
  gate_.Stop(StopMode::kCheckpoint);
  EXPECT_THAT(gate_.stop_mode(), Optional(StopMode::kAbort));
}

TEST_F(GrantGateTest, AsksForMoreAtHalfAndOnlyOnce) {
  ASSERT_OK(gate_.Extend({0, 8, 3}));
  for (int step = 0; step < 4; ++step) ASSERT_OK(gate_.Authorize(step));
  EXPECT_THAT(requests_, IsEmpty());
  ASSERT_OK(gate_.Authorize(4));
  EXPECT_THAT(requests_, ElementsAre(8));
  ASSERT_OK(gate_.Authorize(5));
  EXPECT_THAT(requests_, ElementsAre(8));
  ASSERT_OK(gate_.Extend({8, 16, 3}));
  for (int step = 6; step < 12; ++step) ASSERT_OK(gate_.Authorize(step));
  EXPECT_THAT(requests_, ElementsAre(8));
  ASSERT_OK(gate_.Authorize(12));
  EXPECT_THAT(requests_, ElementsAre(8, 16));
}

TEST_F(GrantGateTest, AsksFromTheFirstStepWhenEmpty) {
  std::thread trainer([this] { EXPECT_THAT(gate_.Authorize(40), IsOk()); });
  clock_.AwaitWaiters(1);
  ASSERT_OK(gate_.Extend({40, 50, 3}));
  trainer.join();
  EXPECT_THAT(requests_, ElementsAre(40));
}

TEST_F(GrantGateTest, AsksForNothingBeyondTheJobsEnd) {
  ASSERT_OK(gate_.Extend({96, 100, 3}));
  for (int step = 96; step < 100; ++step) ASSERT_OK(gate_.Authorize(step));
  EXPECT_THAT(requests_, IsEmpty());
}

TEST_F(GrantGateTest, GrantSentAgainGivesNothingTwice) {
  ASSERT_OK(gate_.Extend({0, 2, 3}));
  ASSERT_OK(gate_.Authorize(0));
  ASSERT_OK(gate_.Extend({0, 2, 3}));
  EXPECT_THAT(gate_.Authorize(0), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_OK(gate_.Authorize(1));
  EXPECT_EQ(gate_.granted_end(), 2);
}

}  // namespace
}  // namespace sotto::grant
