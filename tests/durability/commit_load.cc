#include "tests/durability/commit_load.h"

#include <functional>
#include <iostream>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/fd.h"
#include "common/base/mutex.h"
#include "common/base/status_macros.h"
#include "server/ledger/testing/ledger_fixture.h"
#include "tests/durability/state.h"

namespace sotto::durability {
namespace {

using database::Transaction;

constexpr int64_t kStepsPerGrant = 3;
constexpr int64_t kReservedSteps = 1'000'000;  // more than any run grants

class Load {
 public:
  Load(State& state, int report_fd) : state_(state), report_fd_(report_fd) {}

  absl::Status Run() {
    std::vector<ledger::Account> accounts;
    RETURN_IF_ERROR(state_.database->SubmitAndWait([&](Transaction& transaction) -> absl::Status {
      ASSIGN_OR_RETURN(accounts, StartAttempts(transaction));
      return absl::OkStatus();
    }));
    for (const ledger::Account& account : accounts) GrantNext(account.job, account.attempt, 0);
    auto has_failed = [this] { return !failure_.ok(); };
    MutexLock lock(&mutex_, absl::Condition(&has_failed));
    return failure_;
  }

 private:
  absl::StatusOr<std::vector<ledger::Account>> StartAttempts(Transaction& transaction) {
    ASSIGN_OR_RETURN(std::vector<v1::Job> jobs, state_.store->ListLiveJobs(transaction));
    if (jobs.empty()) {
      ASSIGN_OR_RETURN(jobs, Admit(transaction));
    }
    std::vector<ledger::Account> accounts;
    for (const v1::Job& job : jobs) {
      ASSIGN_OR_RETURN(ledger::Account account, state_.ledger.GetAccount(transaction, job.id()));
      ++account.attempt;
      RETURN_IF_ERROR(state_.ledger.StartAttempt(transaction, job.id(), account.attempt));
      accounts.push_back(account);
    }
    return accounts;
  }

  absl::StatusOr<std::vector<v1::Job>> Admit(Transaction& transaction) {
    RETURN_IF_ERROR(state_.ledger.RegisterDataset(transaction, ledger::MakeDataset("d")));
    std::vector<v1::Job> jobs;
    for (int i = 0; i < kJobs; ++i) {
      v1::Job job;
      ASSIGN_OR_RETURN(*job.mutable_id(), state_.store->AllocateJobId(transaction));
      job.set_state(v1::RUNNING);
      RETURN_IF_ERROR(state_.ledger.Reserve(
          transaction, ledger::MakeRequest(job.id(), "d", kReservedSteps,
                                           ledger::ChargeThatFits(kJobs * kReservedSteps))));
      RETURN_IF_ERROR(state_.store->CreateJob(transaction, job));
      jobs.push_back(job);
    }
    return jobs;
  }

  void GrantNext(const std::string& job, int64_t attempt, int64_t first_step) {
    state_.database->Submit(
        [this, job, attempt, first_step](Transaction& transaction) -> absl::Status {
          ASSIGN_OR_RETURN(const ledger::GrantedSteps steps,
                           state_.ledger.CommitGrant(transaction, job, attempt, first_step,
                                                     first_step + kStepsPerGrant));
          v1::JobEvent event;
          event.mutable_grant()->set_attempt(attempt);
          event.mutable_grant()->set_first_step(steps.first_step);
          event.mutable_grant()->set_end_step(steps.end_step);
          return state_.store->AppendEvent(transaction, job, event).status();
        },
        [this, job, attempt, first_step](absl::Status status) {
          const int64_t end_step = first_step + kStepsPerGrant;
          if (status.ok()) {
            status = WriteAll(
                report_fd_, absl::StrCat(job, " ", attempt, " ", first_step, " ", end_step, "\n"));
          }
          if (status.ok()) return GrantNext(job, attempt, end_step);
          MutexLock lock(&mutex_);
          failure_ = status;
        });
  }

  State& state_;
  const int report_fd_;
  Mutex mutex_;
  absl::Status failure_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

int RunCommitLoad(const std::string& folder, int report_fd) {
  absl::StatusOr<std::unique_ptr<State>> state = OpenState(folder);
  if (!state.ok()) {
    std::cerr << state.status() << std::endl;
    return 3;
  }
  std::cerr << Load(**state, report_fd).Run() << std::endl;
  return 4;
}

}  // namespace sotto::durability
