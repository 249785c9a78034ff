// Random histories: whatever is submitted, granted, repeated, returned, settled and interrupted in
// whatever order, the ledger keeps its promises. The seed is printed and can be given back in
// SOTTO_TEST_SEED.
#include <map>
#include <random>
#include <string>
#include <vector>

#include "common/base/status_matchers.h"
#include "common/base/testing/printed_seed.h"
#include "server/accounting/orders.h"
#include "server/ledger/testing/ledger_fixture.h"

namespace sotto::ledger {
namespace {

using ::sotto::database::Transaction;

// A job as its workers see it.
struct ModelJob {
  std::string dataset;
  accounting::StepCharge charge;
  int64_t reserved = 0;
  int64_t attempt = 0;
  int64_t granted_end = -1;  // of the attempt; -1: nothing granted
  int64_t granted_first = 0;
  int64_t started_end = 0;  // of the attempt; steps below ran
  bool has_returned = false;
  bool settled = false;
  int64_t executed = 0;   // steps that ran, over all attempts
  int64_t committed = 0;  // as the ledger last said
};

class LedgerPropertyTest : public ::testing::Test, protected LedgerFixture {
 protected:
  int64_t Draw(int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(random_);
  }

  ModelJob* AnyJob() {
    if (jobs_.empty()) return nullptr;
    auto job = jobs_.begin();
    std::advance(job, Draw(0, static_cast<int64_t>(jobs_.size()) - 1));
    job_ = job->first;
    return &job->second;
  }

  void Submit() {
    ModelJob job;
    job.dataset = Draw(0, 2) == 0 ? "e" : "d";
    job.reserved = Draw(1, 60);
    const absl::StatusOr<accounting::StepCharge> charge = accounting::ChargeOf(
        {/*sampling_rate=*/0.05 * Draw(1, 4), /*noise_multiplier=*/0.8 + 0.3 * Draw(0, 3)},
        /*truncation_delta=*/1e-11 * Draw(0, 5));
    ASSERT_OK(charge);
    job.charge = *charge;
    job_ = "job-" + std::to_string(++num_submitted_);
    const absl::Status status = Reserve(MakeRequest(job_, job.dataset, job.reserved, job.charge));
    if (absl::IsResourceExhausted(status)) {
      ++num_refused_;
      return;
    }
    ASSERT_OK(status);
    jobs_[job_] = job;
  }

  // A new life of the gang, from some step at or before what had run: what a crash leads to.
  void Restart(ModelJob& job) {
    const absl::Status status = StartAttempt(job_, job.attempt + 1);
    if (job.settled) {
      EXPECT_THAT(status, StatusIs(absl::StatusCode::kFailedPrecondition));
      return;
    }
    ASSERT_OK(status);
    ++job.attempt;
    job.granted_first = Draw(0, job.started_end);
    job.started_end = job.granted_first;
    job.granted_end = -1;
    job.has_returned = false;
  }

  void GrantMore(ModelJob& job) {
    if (job.attempt == 0) return;
    const int64_t first = job.granted_end < 0 ? job.granted_first : job.granted_end;
    const absl::StatusOr<GrantedSteps> grant = Grant(job_, job.attempt, first, first + Draw(1, 8));
    if (job.settled || job.has_returned) {
      EXPECT_THAT(grant, StatusIs(absl::StatusCode::kFailedPrecondition));
      return;
    }
    ASSERT_OK(grant);
    if (grant->steps() == 0) {
      EXPECT_EQ(job.committed, job.reserved);
      return;
    }
    job.granted_end = grant->end_step;
    last_grant_[job_] = *grant;
    job.committed += grant->steps();
  }

  // The answer was lost: the same question again.
  void RepeatGrant(ModelJob& job) {
    if (job.granted_end < 0 || job.settled || job.has_returned) return;
    const GrantedSteps last = last_grant_[job_];
    EXPECT_THAT(Grant(job_, job.attempt, last.first_step, last.first_step + Draw(1, 9)),
                IsOkAndHolds(last));
  }

  void GrantToZombie(ModelJob& job) {
    if (job.attempt < 2) return;
    EXPECT_THAT(Grant(job_, job.attempt - 1, 0, 5), StatusIs(absl::StatusCode::kAborted));
  }

  void Execute(ModelJob& job) {
    if (job.granted_end < 0 || job.has_returned || job.settled) return;
    const int64_t end = Draw(job.started_end, job.granted_end);
    job.executed += end - job.started_end;
    job.started_end = end;
  }

  void StopCleanly(ModelJob& job) {
    if (job.attempt == 0 || job.settled) return;
    const bool is_repeated = job.has_returned;
    const int64_t expected =
        job.granted_end < 0 || is_repeated ? 0 : job.granted_end - job.started_end;
    ASSERT_OK_AND_ASSIGN(const int64_t returned, Return(job_, job.attempt, job.started_end));
    if (is_repeated) return;  // CheckPromises sees that nothing moved.
    EXPECT_EQ(returned, expected);
    job.committed -= expected;
    job.has_returned = true;
  }

  void End(ModelJob& job) {
    ASSERT_OK(Settle(job_));
    job.settled = true;
  }

  // A request that fails after it did its work leaves nothing.
  void FailInside(ModelJob& job) {
    EXPECT_THAT(Write([&](Transaction& transaction) -> absl::Status {
                  ledger().StartAttempt(transaction, job_, job.attempt + 1).IgnoreError();
                  ledger().CommitGrant(transaction, job_, job.attempt + 1, 0, 5).IgnoreError();
                  ledger().Settle(transaction, job_).IgnoreError();
                  return absl::CancelledError();
                }),
                StatusIs(absl::StatusCode::kCancelled));
  }

  void TakeRandomAction() {
    const int64_t action = Draw(0, 99);
    if (action < 12) return Submit();
    if (action < 16) return database().Reopen();
    ModelJob* const job = AnyJob();
    if (job == nullptr) return;
    if (action < 26) return Restart(*job);
    if (action < 56) return GrantMore(*job);
    if (action < 64) return RepeatGrant(*job);
    if (action < 70) return GrantToZombie(*job);
    if (action < 86) return Execute(*job);
    if (action < 90) return StopCleanly(*job);
    if (action < 93) return End(*job);
    FailInside(*job);
  }

  // Sums in the test's own arithmetic, wide enough not to overflow.
  void CheckFits(const std::string& dataset) {
    const std::vector<int64_t> capacity = accounting::CapacityOf(8, 1e-6).units;
    std::vector<__int128> totals(capacity.size(), 0);
    for (const auto& [id, job] : jobs_) {
      if (job.dataset != dataset) continue;
      const int64_t steps = job.settled ? job.committed : job.reserved;
      for (size_t i = 0; i < totals.size(); ++i) {
        totals[i] += static_cast<__int128>(job.charge.units[i]) * steps;
      }
    }
    bool fits = false;
    for (size_t i = 0; i < totals.size(); ++i) fits |= totals[i] <= capacity[i];
    EXPECT_TRUE(fits) << dataset;
  }

  void CheckPromises() {
    for (const auto& [id, job] : jobs_) {
      ASSERT_OK_AND_ASSIGN(const Account account, GetAccount(id));
      EXPECT_EQ(account.committed, job.committed) << id;
      EXPECT_LE(account.committed, account.reserved) << id;
      EXPECT_GE(account.committed, job.executed) << id << ": a step ran that was not paid";
      EXPECT_EQ(account.settled, job.settled) << id;
    }
    CheckFits("d");
    CheckFits("e");
    EXPECT_OK(Verify());
  }

  std::mt19937_64 random_;
  std::map<std::string, ModelJob> jobs_;
  std::map<std::string, GrantedSteps> last_grant_;
  std::string job_;  // the one that the current action is about
  int num_submitted_ = 0;
  int num_refused_ = 0;
};

TEST_F(LedgerPropertyTest, RandomHistoriesKeepEveryPromise) {
  random_.seed(PrintedSeed());
  ASSERT_OK(Register(MakeDataset("d")));
  ASSERT_OK(Register(MakeDataset("e")));
  for (int i = 0; i < 1500 && !HasFailure(); ++i) {
    TakeRandomAction();
    if (i % 10 == 0) CheckPromises();
  }
  CheckPromises();
  // The run was one that could have gone wrong.
  EXPECT_GT(jobs_.size(), 10);
  EXPECT_GT(num_refused_, 0);
}

}  // namespace
}  // namespace sotto::ledger
