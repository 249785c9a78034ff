// Jobs that are paused and go on, on other workers, with real processes.
#include <cmath>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "common/base/status_matchers.h"
#include "common/checkpoint/checkpoint_reader.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/integration/testing/event_log.h"
#include "tests/integration/testing/service_fixture.h"
#include "tests/integration/testing/tiny_job.h"

namespace sotto::integration {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

using Parameters = std::map<std::string, std::vector<float>>;

std::function<bool(const v1::JobEvent&)> IsState(v1::JobState state) {
  return [state](const v1::JobEvent& event) { return event.state().state() == state; };
}

// By name, of the job's last checkpoint, however it was sharded.
Parameters ParametersOf(const v1::Job& job) {
  Parameters parameters;
  const auto checkpoint = checkpoint::Checkpoint::Open(job.checkpoint_path());
  EXPECT_OK(checkpoint);
  if (!checkpoint.ok()) return parameters;
  for (const v1::CheckpointUnit& unit : (*checkpoint)->manifest().units()) {
    for (const v1::CheckpointTensor& tensor : unit.tensors()) {
      int64_t elements = 1;
      for (const int64_t extent : tensor.shape()) elements *= extent;
      std::vector<float>& values = parameters[tensor.name()];
      values.resize(elements);
      EXPECT_OK(
          (*checkpoint)->Read(unit.name(), "master", tensor.offset(), absl::MakeSpan(values)));
    }
  }
  return parameters;
}

// Of all parameters, over their norm.
double Distance(const Parameters& one, const Parameters& other) {
  double difference = 0;
  double norm = 0;
  for (const auto& [name, values] : one) {
    for (size_t i = 0; i < values.size(); ++i) {
      difference += std::pow(values[i] - other.at(name)[i], 2);
      norm += std::pow(values[i], 2);
    }
  }
  return std::sqrt(difference / norm);
}

class PauseTest : public ServiceFixture {
 protected:
  void SetUp() override {
    ServiceFixture::SetUp();
    StartCoordinator();
  }

  // One that promises nothing, on data without a budget: it may be repeated exactly.
  v1::JobSpec SeededJob() {
    v1::RegisterDatasetRequest dataset = TinyDataset("tiny", dataset_path_);
    dataset.clear_budget();
    dataset.set_no_budget(true);
    EXPECT_OK(client().Register(dataset));
    v1::JobSpec spec = TinyJob({.steps = 200, .workers = 1});
    spec.clear_privacy();
    spec.mutable_privacy()->set_not_private(true);
    spec.mutable_privacy()->set_seed(7);
    spec.mutable_privacy()->set_fixed_noise_multiplier(0.5);
    return spec;
  }

  WatchedJob CatchPaused(const v1::JobSpec& spec) {
    WatchedJob job = Catch(spec, [&](WatchedJob& running) {
      ASSERT_TRUE(running.one->AwaitStep(15));
      client().Pause(running.id).status().IgnoreError();  // It may have ended.
      running.one->Await(IsState(v1::PAUSED));
    });
    const absl::StatusOr<v1::Job> paused = client().GetJob(job.id);
    EXPECT_OK(paused);
    EXPECT_EQ(paused->state(), v1::PAUSED);
    EXPECT_EQ(paused->checkpoint_step(), paused->completed_steps()) << "of the moment of the pause";
    EXPECT_LT(paused->completed_steps(), job.steps);
    return job;
  }

  v1::Job Uninterrupted(v1::JobSpec spec, int64_t steps) {
    spec.mutable_train()->set_steps(steps);
    const WatchedJob job = SubmitWatched(spec);
    job.one->Finish();
    return ExpectSoundEnd(job.id, v1::SUCCEEDED);
  }
};

TEST_F(PauseTest, TwoWorkersEndWithTheModelThatOneWouldHaveTrainedBitForBit) {
  const v1::JobSpec spec = SeededJob();  // AdamW: its moments go from one to two as well.
  const WatchedJob job = CatchPaused(spec);
  ASSERT_OK(client().Resume(job.id, 2, v1::FULL_SHARD));
  ExpectSameDenseEvents(job.one->Finish(), job.other->Finish());
  const v1::Job ended = ExpectSoundEnd(job.id, v1::SUCCEEDED);
  EXPECT_EQ(ended.completed_steps(), job.steps);
  EXPECT_EQ(ended.attempt(), 2);
  EXPECT_EQ(ended.restarts(), 0);
  EXPECT_EQ(ended.plan().sharding().world_size(), 2);
  const v1::Job whole = Uninterrupted(spec, job.steps);
  EXPECT_EQ(whole.plan().sharding().world_size(), 1);
  const Parameters expected = ParametersOf(whole);
  ASSERT_FALSE(expected.empty());
  EXPECT_TRUE(ParametersOf(ended) == expected)
      << "distance " << Distance(ParametersOf(ended), expected);
}

// Another strategy adds in another order. SGD passes on what rounding makes of a sum and no more:
// each of its 64 terms at most is off by 2^-24, a few 1e-6 of what the training moves parameters
// by.
TEST_F(PauseTest, AnotherStrategyEndsWithTheSameModelToRounding) {
  v1::JobSpec spec = SeededJob();
  spec.mutable_train()->mutable_optimizer()->mutable_sgd();
  const WatchedJob job = CatchPaused(spec);
  ASSERT_OK(client().Resume(job.id, 2, v1::SHARD_GRAD_OP));
  job.one->Finish();
  const v1::Job ended = ExpectSoundEnd(job.id, v1::SUCCEEDED);
  EXPECT_EQ(ended.plan().sharding().strategy(), v1::SHARD_GRAD_OP);
  const Parameters expected = ParametersOf(Uninterrupted(spec, job.steps));
  EXPECT_LT(Distance(ParametersOf(ended), expected), 1e-5);
}

// Killed while it has nothing but the paused job, the coordinator comes back and goes on with it.
TEST_F(PauseTest, APrivateJobIsChargedOnceOverAPauseAndAKilledCoordinator) {
  RegisterTinyDataset();
  TinyJobOptions options;
  options.crash_reserve = 0;  // A step that was charged twice would be missing at the end.
  const WatchedJob job = CatchPaused(TinyJob(options));
  ASSERT_OK_AND_ASSIGN(const v1::Dataset reserved, client().GetDataset("tiny"));
  EXPECT_GT(reserved.reserved_epsilon(), reserved.spent_epsilon()) << "the job keeps what is left";

  coordinator_->Kill();
  StartCoordinator();
  ASSERT_OK_AND_ASSIGN(const v1::Job paused, client().GetJob(job.id));
  EXPECT_EQ(paused.state(), v1::PAUSED);
  EXPECT_THAT(client().Resume(job.id, 5, v1::FULL_SHARD),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("coordinator's 4 slots")));
  ASSERT_OK(client().Resume(job.id, 3, v1::NO_SHARD));
  const std::vector<v1::JobEvent> events = job.one->Finish();
  ExpectSameDenseEvents(events, job.other->Finish());
  EXPECT_THAT(events, Contains(::testing::ResultOf(
                          [](const v1::JobEvent& event) { return event.state().message(); },
                          "resumed: from 2 workers, FULL_SHARD to 3 workers, NO_SHARD")));
  const v1::Job ended = ExpectSoundEnd(job.id, v1::SUCCEEDED);
  EXPECT_EQ(ended.reason(), v1::STEPS_DONE);
  EXPECT_EQ(ended.completed_steps(), job.steps);
  EXPECT_EQ(ended.plan().privacy().SerializeAsString(),
            paused.plan().privacy().SerializeAsString());
  EXPECT_LE(ended.epsilon(), ended.plan().privacy().epsilon() * (1 + 1e-9));

  int64_t reservations = 0;
  int64_t charged = 0;
  ASSERT_OK_AND_ASSIGN(const std::vector<v1::LedgerEntry> entries, client().ListCharges("tiny"));
  for (const v1::LedgerEntry& entry : entries) {
    if (entry.job() != job.id) continue;
    if (entry.kind() == v1::LedgerEntry::RESERVED) ++reservations;
    if (entry.kind() == v1::LedgerEntry::COMMITTED) charged += entry.steps();
    if (entry.kind() == v1::LedgerEntry::RETURNED) charged -= entry.steps();
  }
  EXPECT_EQ(reservations, 1);
  EXPECT_EQ(charged, job.steps);
  ASSERT_OK_AND_ASSIGN(const v1::Dataset spent, client().GetDataset("tiny"));
  EXPECT_EQ(spent.spent_epsilon(), spent.reserved_epsilon());
  EXPECT_DOUBLE_EQ(spent.spent_epsilon(), reserved.reserved_epsilon()) << "as reserved at first";
}

TEST_F(PauseTest, APausedJobLeavesItsWorkersSlotsToOthersAndCanBeCancelled) {
  RegisterTinyDataset();
  TinyJobOptions options;
  options.workers = 4;  // all slots
  const WatchedJob job = CatchPaused(TinyJob(options));
  options.steps = 5;
  const WatchedJob other = SubmitWatched(TinyJob(options));
  other.one->Finish();
  ExpectSoundEnd(other.id, v1::SUCCEEDED);
  ASSERT_OK_AND_ASSIGN(const v1::Job cancelled, client().Cancel(job.id));
  EXPECT_EQ(cancelled.state(), v1::CANCELLED);
  job.one->Finish();
  EXPECT_GT(ExpectSoundEnd(job.id, v1::CANCELLED).checkpoint_step(), 0);
}

}  // namespace
}  // namespace sotto::integration
