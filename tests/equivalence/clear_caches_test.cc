// Ranks give freed memory back after the same steps, and no bit of the result changes.
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

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
#include "worker/memory/testing/freed_blocks.h"
#include "worker/train/train_observer.h"
#include "worker/training.h"

namespace sotto::equivalence {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Lt;
using ::testing::SizeIs;

std::string NewDirectory() { return *MakeTempDir(absl::StrCat(::testing::TempDir(), "/sotto-")); }

// Ten steps; evaluations after 0, 4, 8 and 10 of them.
RunOptions Options(int world_size, int64_t clear_every) {
  RunOptions options{.world_size = world_size, .noise_multiplier = 0.5, .records = 20};
  options.adjust = [clear_every](v1::JobPlan& plan) {
    v1::JobSpec& spec = *plan.mutable_spec();
    spec.mutable_data()->set_public_evaluation_file(plan.dataset().path());
    spec.mutable_train()->set_evaluation_every_steps(4);
    spec.mutable_workers()->set_clear_caches_every_steps(clear_every);
  };
  return options;
}

class ClearCachesTest : public ::testing::TestWithParam<int> {};

TEST_P(ClearCachesTest, ChangesNoBit) {
  const RunResult plain = Train(NewDirectory(), Options(GetParam(), /*clear_every=*/0));
  const RunResult cleared = Train(NewDirectory(), Options(GetParam(), /*clear_every=*/1));
  ASSERT_TRUE(plain.succeeded);
  ASSERT_TRUE(cleared.succeeded);
  EXPECT_THAT(plain.clearings, IsEmpty());
  EXPECT_THAT(cleared.clearings, SizeIs(10));
  EXPECT_EQ(cleared.parameters, plain.parameters);
  EXPECT_EQ(cleared.losses, plain.losses);
  EXPECT_EQ(cleared.evaluations, plain.evaluations);
  EXPECT_EQ(cleared.tensor_peak_bytes, plain.tensor_peak_bytes);
}

// A run succeeds only if its ranks agree on when.
TEST_P(ClearCachesTest, EveryRankClearsAfterTheSameSteps) {
  const RunResult run = Train(NewDirectory(), Options(GetParam(), /*clear_every=*/3));
  ASSERT_TRUE(run.succeeded);
  EXPECT_THAT(run.evaluations, SizeIs(4));
  EXPECT_THAT(run.clearings, ElementsAre(0, 3, 4, 6, 8, 9));
}

// Whether a step clears does not depend on where an attempt began.
TEST_P(ClearCachesTest, AResumedAttemptClearsAfterTheStepsOfAStraightOne) {
  RunOptions options = Options(GetParam(), /*clear_every=*/3);
  options.checkpoint_directory = NewDirectory();
  options.end_step = 5;
  ASSERT_TRUE(Train(NewDirectory(), options).succeeded);
  options.first_step = 5;
  options.end_step = 10;
  const RunResult resumed = Train(NewDirectory(), options);
  ASSERT_TRUE(resumed.succeeded);
  EXPECT_THAT(resumed.clearings, ElementsAre(5, 6, 8, 9));
}

INSTANTIATE_TEST_SUITE_P(WorldSizes, ClearCachesTest, ::testing::Values(1, 2));

// After every step there is freed memory that the allocator keeps; looks at it when told that it
// was given back.
class FreeingObserver : public train::TrainObserver {
 public:
  void OnProgress(int64_t, double) override {}
  void OnStep(const dp::NoisedMetrics&, double, double) override {
    freed_ = std::make_unique<memory::FreedBlocks>();
    kept_after_step = freed_->Kept();
  }
  void OnEvaluation(int64_t, double) override {}
  void OnCheckpoint(int64_t, const std::string&) override {}
  void OnCachesCleared(int64_t completed_steps, int64_t) override {
    cleared.push_back(completed_steps);
    if (freed_ != nullptr) kept.push_back(freed_->Kept());
  }
  void OnNote(const std::string&) override {}

  int kept_after_step = 0;
  std::vector<int64_t> cleared;
  std::vector<int> kept;

 private:
  std::unique_ptr<memory::FreedBlocks> freed_;
};

TEST(ClearedCachesTest, GiveFreedMemoryBackToTheSystem) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "the sanitizer's allocator is not the system's";
#endif
  const RunOptions options = Options(/*world_size=*/1, /*clear_every=*/5);
  const v1::JobPlan plan = MakePlan(NewDirectory(), options);
  comm::SoloCommunicator communicator;
  grant::GrantGate gate({.attempt = 1, .end_step = options.end_step, .clock = &RealClock::Get()});
  ASSERT_OK(gate.Extend({.first_step = 0, .end_step = options.end_step, .attempt = 1}));
  FreeingObserver observer;
  ASSERT_OK_AND_ASSIGN(
      const std::unique_ptr<Training> training,
      Training::Create({.plan = plan, .job = "job-1", .attempt = 1, .end_step = options.end_step},
                       crypto::Secret::FromPublicSeed(plan.spec().privacy().seed()),
                       {.communicator = communicator,
                        .gate = gate,
                        .observer = observer,
                        .clock = RealClock::Get()}));
  ASSERT_OK(training->Run());
  EXPECT_THAT(observer.cleared, ElementsAre(0, 4, 5, 8));
  const int half = memory::FreedBlocks().Count() / 2;
  EXPECT_GT(observer.kept_after_step, half);
  // Small texts may stand in a few of the blocks.
  EXPECT_THAT(observer.kept, AllOf(SizeIs(3), Each(Lt(half))));
}

}  // namespace
}  // namespace sotto::equivalence

int main(int argc, char** argv) { return sotto::comm::RankTestMain(argc, argv); }
