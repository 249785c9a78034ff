#include "server/scheduler/policy.h"

#include <algorithm>
#include <vector>

#include "gtest/gtest.h"
#include "server/scheduler/transitions.h"

namespace sotto::scheduler {
namespace {

TEST(TransitionsTest, NoneLeavesATerminalStateAndAllStatesAreReachable) {
  std::vector<v1::JobState> reached = {v1::QUEUED};
  for (const Transition& transition : kTransitions) {
    EXPECT_FALSE(IsTerminal(transition.from));
    EXPECT_NE(std::find(reached.begin(), reached.end(), transition.from), reached.end())
        << v1::JobState_Name(transition.from) << " is left before any line reaches it";
    reached.push_back(transition.to);
  }
  for (const v1::JobState state : {v1::SUCCEEDED, v1::FAILED, v1::CANCELLED}) {
    EXPECT_NE(std::find(reached.begin(), reached.end(), state), reached.end());
  }
}

TEST(PolicyTest, BackoffDoublesUpToItsLimit) {
  Policy policy;
  policy.first_backoff = absl::Seconds(1);
  policy.max_backoff = absl::Seconds(5);
  EXPECT_EQ(Backoff(policy, 1), absl::Seconds(1));
  EXPECT_EQ(Backoff(policy, 3), absl::Seconds(4));
  EXPECT_EQ(Backoff(policy, 1000), absl::Seconds(5));
}

TEST(PolicyTest, GrantCoversItsLengthWithinCheckpointsAndTheJob) {
  Policy policy;
  v1::TrainPlan train;
  train.set_steps(1000);
  train.set_checkpoint_every_steps(100);
  train.set_steps_per_grant(7);
  EXPECT_EQ(GrantSteps(policy, train, /*seconds_per_step=*/0, 0), 7);
  EXPECT_EQ(GrantSteps(policy, train, /*seconds_per_step=*/0.1, 0), 20);
  EXPECT_EQ(GrantSteps(policy, train, /*seconds_per_step=*/0.001, 0), 50);
  EXPECT_EQ(GrantSteps(policy, train, /*seconds_per_step=*/60, 0), 1);
  EXPECT_EQ(GrantSteps(policy, train, /*seconds_per_step=*/0.001, 990), 10);
}

}  // namespace
}  // namespace sotto::scheduler
