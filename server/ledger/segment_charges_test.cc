// Charges that differ from step to step, and epochs that are charged as one.
#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "common/base/status_matchers.h"
#include "server/ledger/job_charge.h"
#include "server/ledger/testing/ledger_fixture.h"

namespace sotto::ledger {
namespace {

using ::sotto::database::Transaction;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

accounting::StepCharge TimesFour(accounting::StepCharge charge) {
  for (int64_t& units : charge.units) units *= 4;
  return charge;
}

class SegmentChargesTest : public ::testing::Test, protected LedgerFixture {
 protected:
  void SetUp() override { ASSERT_OK(Register(MakeDataset("d"))); }

  // `reserved` by segment, each with its own charge; room for 100 of the first charge.
  absl::Status Open(std::vector<int64_t> first_steps, int64_t steps_per_epoch,
                    std::vector<accounting::StepCharge> charges, SegmentCounts reserved) {
    ReservationRequest request;
    request.job = "job-1";
    request.dataset = "d";
    ASSIGN_OR_RETURN(request.charge.compositions,
                     accounting::Compositions::Create(std::move(first_steps), steps_per_epoch));
    request.charge.charges = std::move(charges);
    request.charge.reserved = std::move(reserved);
    RETURN_IF_ERROR(Reserve(request));
    return StartAttempt("job-1", 1);
  }

  SegmentCounts Committed() { return GetAccount("job-1")->committed_by_segment; }

  const accounting::StepCharge cheap_ = ChargeThatFits(100);
  const accounting::StepCharge dear_ = TimesFour(cheap_);
};

TEST_F(SegmentChargesTest, EachStepCostsItsSegmentsCharge) {
  ASSERT_OK(Open({0, 40}, 1, {cheap_, dear_}, {40, 15}));
  ASSERT_OK(Grant("job-1", 1, 0, 30));
  ASSERT_OK_AND_ASSIGN(const v1::Dataset before, GetDataset("d"));
  ASSERT_OK(Grant("job-1", 1, 30, 45));
  EXPECT_THAT(Committed(), ElementsAre(40, 5));
  ASSERT_OK_AND_ASSIGN(const v1::Dataset after, GetDataset("d"));
  accounting::ChargeTotals spent;
  spent.Add(cheap_, 40);
  spent.Add(dear_, 5);
  EXPECT_EQ(after.spent_epsilon(), accounting::EpsilonOf(spent, 1e-6));
  EXPECT_LT(before.spent_epsilon(), after.spent_epsilon());
  EXPECT_OK(Verify());
}

TEST_F(SegmentChargesTest, AdmissionAddsTheSegmentsUp) {
  // 40 cheap ones and 15 dear ones are as much as the budget holds.
  EXPECT_THAT(Open({0, 40}, 1, {cheap_, dear_}, {41, 15}),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("at most 55")));
  EXPECT_OK(Open({0, 40}, 1, {cheap_, dear_}, {40, 15}));
  EXPECT_THAT(Reserve(MakeRequest("job-2", "d", 1, cheap_)),
              StatusIs(absl::StatusCode::kResourceExhausted));
}

TEST_F(SegmentChargesTest, RunningDearStepsAgainUsesUpWhatWasReservedForOthers) {
  ASSERT_OK(Open({0, 10}, 1, {dear_, cheap_}, {10, 40}));  // 80 cheap ones' worth
  ASSERT_OK(Grant("job-1", 1, 0, 10));
  ASSERT_OK(StartAttempt("job-1", 2));
  ASSERT_OK(Grant("job-1", 2, 0, 10));
  EXPECT_THAT(Committed(), ElementsAre(20, 0));
  // All of the reservation is spent, though only 20 of 50 steps were granted.
  ASSERT_OK_AND_ASSIGN(const GrantedSteps rest, Grant("job-1", 2, 10, 20));
  EXPECT_EQ(rest.steps(), 0);
  EXPECT_OK(Verify());
  ASSERT_OK(Settle("job-1"));
  EXPECT_OK(Verify());
}

TEST_F(SegmentChargesTest, MoreCheapStepsThanReservedAreNotGranted) {
  // Their cost would be covered by what was reserved for dear ones; what the cap costs would not.
  ASSERT_OK(Open({0, 10}, 1, {cheap_, dear_}, {10, 10}));
  ASSERT_OK(Grant("job-1", 1, 0, 10));
  for (int attempt = 2; attempt <= 3; ++attempt) {
    ASSERT_OK(StartAttempt("job-1", attempt));
    ASSERT_OK(Grant("job-1", attempt, 0, 10));
  }
  EXPECT_THAT(Committed(), ElementsAre(20, 0));
}

TEST_F(SegmentChargesTest, AnEpochIsChargedOnceAndWithItsFirstStep) {
  ASSERT_OK(Open({0}, 10, {dear_}, {3}));
  ASSERT_OK(Grant("job-1", 1, 0, 4));
  EXPECT_THAT(Committed(), ElementsAre(1));
  ASSERT_OK(Grant("job-1", 1, 4, 10));
  EXPECT_THAT(Committed(), ElementsAre(1));
  ASSERT_OK(Grant("job-1", 1, 10, 30));
  EXPECT_THAT(Committed(), ElementsAre(3));
  ASSERT_OK_AND_ASSIGN(const GrantedSteps beyond, Grant("job-1", 1, 30, 31));
  EXPECT_EQ(beyond.steps(), 0);
  EXPECT_OK(Verify());
}

TEST_F(SegmentChargesTest, AGrantEndsWhereTheReservedEpochsDo) {
  ASSERT_OK(Open({0}, 10, {dear_}, {2}));
  EXPECT_THAT(Grant("job-1", 1, 0, 25), IsOkAndHolds(GrantedSteps{0, 20}));
}

TEST_F(SegmentChargesTest, GoingOnAfterACleanStopCostsNothingMore) {
  ASSERT_OK(Open({0}, 10, {dear_}, {2}));
  ASSERT_OK(Grant("job-1", 1, 0, 12));
  EXPECT_THAT(Return("job-1", 1, 7), IsOkAndHolds(1));  // the second epoch was not begun
  EXPECT_THAT(Committed(), ElementsAre(1));
  ASSERT_OK(StartAttempt("job-1", 2));
  ASSERT_OK(Grant("job-1", 2, 7, 10));
  EXPECT_THAT(Committed(), ElementsAre(1));
  EXPECT_THAT(Grant("job-1", 2, 10, 20), IsOkAndHolds(GrantedSteps{10, 20}));
  EXPECT_THAT(Committed(), ElementsAre(2));
  EXPECT_OK(Verify());
}

TEST_F(SegmentChargesTest, AStepThatRunsAgainCostsAnotherEpoch) {
  ASSERT_OK(Open({0}, 10, {dear_}, {3}));
  ASSERT_OK(Grant("job-1", 1, 0, 8));
  ASSERT_OK(StartAttempt("job-1", 2));  // after a crash: nobody knows what ran
  ASSERT_OK(Grant("job-1", 2, 7, 10));
  EXPECT_THAT(Committed(), ElementsAre(2));
  ASSERT_OK(Grant("job-1", 2, 10, 20));
  EXPECT_THAT(Committed(), ElementsAre(3));
  EXPECT_OK(Verify());
}

TEST_F(SegmentChargesTest, WhoClaimsThatAnEpochIsPaidIsFoundOut) {
  ASSERT_OK(Open({0}, 10, {dear_}, {3}));
  ASSERT_OK(Grant("job-1", 1, 0, 8));
  ASSERT_OK(Write([](Transaction& transaction) {
    return transaction.Execute("UPDATE accounts SET run_end = 5");
  }));
  EXPECT_THAT(Verify(), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("run_end 5")));
  ASSERT_OK(Write([](Transaction& transaction) {
    return transaction.Execute("UPDATE accounts SET run_end = 8, committed_by_segment = '0'");
  }));
  EXPECT_THAT(Verify(), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("committed segments")));
}

TEST_F(SegmentChargesTest, AccountsOfBeforeThereWereSegmentsGoOn) {
  ASSERT_OK(Reserve(MakeRequest("job-1", "d", 60, cheap_)));
  ASSERT_OK(StartAttempt("job-1", 1));
  ASSERT_OK(Grant("job-1", 1, 0, 20));
  v1::LedgerEntry charge;  // as it was stored then: without the steps
  charge.mutable_step_charge()->Assign(cheap_.units.begin(), cheap_.units.end());
  ASSERT_OK(Write([&](Transaction& transaction) {
    return transaction.Execute(
        "UPDATE accounts SET charge = ?1, committed_by_segment = '', run_end = 0",
        {database::Blob{charge.SerializeAsString()}});
  }));
  EXPECT_OK(Verify());
  EXPECT_THAT(Grant("job-1", 1, 20, 100), IsOkAndHolds(GrantedSteps{20, 60}));
  EXPECT_THAT(Committed(), ElementsAre(60));
  EXPECT_OK(Verify());
}

TEST_F(SegmentChargesTest, SegmentsMustBeWholeAndAlike) {
  EXPECT_THAT(Open({0, 10}, 1, {cheap_}, {5, 5}), StatusIs(absl::StatusCode::kInvalidArgument));
  accounting::StepCharge cut = cheap_;
  cut.truncation_delta = 1e-12;
  EXPECT_THAT(Open({0, 10}, 1, {cheap_, cut}, {5, 5}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("truncation_delta")));
  EXPECT_THAT(Open({0, 10}, 1, {cheap_, accounting::StepCharge()}, {5, 5}),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

// Random lives: no epoch is paid fewer times than its busiest step may have run, and the rows alone
// give the same account.
TEST_F(SegmentChargesTest, RandomLivesPayForEveryRun) {
  std::mt19937 random(3);
  const accounting::StepCharge tiny = ChargeThatFits(100000);
  for (int life = 0; life < 12; ++life) {
    const std::string job = "job-" + std::to_string(life);
    const int64_t epoch = 1 + random() % 6;
    ReservationRequest request;
    request.job = job;
    request.dataset = "d";
    request.charge.compositions = *accounting::Compositions::Create({0, 3 * epoch}, epoch);
    request.charge.charges = {tiny, tiny};
    request.charge.reserved = {20, 20};
    ASSERT_OK(Reserve(request));
    std::map<int64_t, int> runs;  // by step
    int64_t started_end = 0;
    for (int attempt = 1; attempt <= 5; ++attempt) {
      ASSERT_OK(StartAttempt(job, attempt));
      const int64_t first = random() % 2 ? started_end : random() % (started_end + 1);
      int64_t end = first;
      for (int i = 0; i < 3; ++i) {
        ASSERT_OK_AND_ASSIGN(const GrantedSteps granted,
                             Grant(job, attempt, end, end + 1 + random() % 9));
        end = granted.end_step;
        if (granted.steps() == 0) break;
      }
      int64_t ran_end = end;
      if (end > first && random() % 2) {
        ran_end = first + random() % (end - first + 1);
        ASSERT_OK(Return(job, attempt, ran_end));
      }
      for (int64_t step = first; step < ran_end; ++step) ++runs[step];
      started_end = std::max(started_end, ran_end);
      ASSERT_OK(Verify());
    }
    std::map<int64_t, int> needed;  // by epoch
    for (const auto& [step, times] : runs) {
      needed[step / epoch] = std::max(needed[step / epoch], times);
    }
    int64_t sum = 0;
    for (const auto& [number, times] : needed) sum += times;
    EXPECT_GE(GetAccount(job)->committed, sum) << "epochs of " << epoch;
    ASSERT_OK(Settle(job));
  }
  EXPECT_OK(Verify());
}

}  // namespace
}  // namespace sotto::ledger
