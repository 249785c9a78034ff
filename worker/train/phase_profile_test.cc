#include "worker/train/phase_profile.h"

#include <utility>

#include "gtest/gtest.h"

namespace sotto::train {
namespace {

TEST(PhaseProfileTest, AnInnerSpanTakesItsTimeFromTheOuterOne) {
  SimulatedClock clock;
  PhaseProfile profile(clock);
  {
    const PhaseProfile::Span backward(&profile, Phase::kFirstBackward);
    clock.Advance(absl::Nanoseconds(5));
    for (int layer = 0; layer < 2; ++layer) {
      const PhaseProfile::Span norms(&profile, Phase::kNorms);
      clock.Advance(absl::Nanoseconds(100));
    }
    clock.Advance(absl::Nanoseconds(6));
  }
  clock.Advance(absl::Seconds(1));  // Between spans: nobody's.
  EXPECT_EQ(profile.total(Phase::kFirstBackward).nanoseconds, 11);
  EXPECT_EQ(profile.total(Phase::kFirstBackward).count, 1);
  EXPECT_EQ(profile.total(Phase::kNorms).nanoseconds, 200);
  EXPECT_EQ(profile.total(Phase::kNorms).count, 2);
}

int64_t peak_since_last_take = 0;
int64_t TakePeak() { return std::exchange(peak_since_last_take, 0); }

TEST(PhaseProfileTest, APhaseHasItsHighestPeakAndNoOther) {
  const SimulatedClock clock;
  PhaseProfile profile(clock, &TakePeak);
  peak_since_last_take = 1000;  // before any phase
  {
    const PhaseProfile::Span backward(&profile, Phase::kFirstBackward);
    peak_since_last_take = 50;
    for (int64_t bytes : {70, 90, 80}) {
      const PhaseProfile::Span norms(&profile, Phase::kNorms);
      peak_since_last_take = bytes;
    }
    peak_since_last_take = 60;
  }
  peak_since_last_take = 2000;  // between phases
  { const PhaseProfile::Span fold(&profile, Phase::kFold); }
  EXPECT_EQ(profile.total(Phase::kFirstBackward).peak_bytes, 60);
  EXPECT_EQ(profile.total(Phase::kNorms).peak_bytes, 90);
  EXPECT_EQ(profile.total(Phase::kFold).peak_bytes, 0);
}

TEST(PhaseProfileTest, EveryPhaseHasItsName) {
  const SimulatedClock clock;
  const PhaseProfile profile(clock);
  EXPECT_EQ(profile.total(Phase::kSampling).name, "sampling");
  EXPECT_EQ(profile.total(Phase::kWeightGradients).name, "weight_gradients");
  EXPECT_EQ(profile.total(Phase::kUpdate).name, "update");
  for (const PhaseProfile::Total& total : profile.totals()) EXPECT_FALSE(total.name.empty());
}

TEST(PhaseProfileTest, ClearForgetsTimesAndKeepsNames) {
  SimulatedClock clock;
  PhaseProfile profile(clock);
  {
    const PhaseProfile::Span span(&profile, Phase::kReduce);
    clock.Advance(absl::Nanoseconds(9));
  }
  profile.Clear();
  EXPECT_EQ(profile.total(Phase::kReduce).nanoseconds, 0);
  EXPECT_EQ(profile.total(Phase::kReduce).count, 0);
  EXPECT_EQ(profile.total(Phase::kReduce).name, "reduce");
}

}  // namespace
}  // namespace sotto::train
