// A job's account, and the arithmetic on accounts that both the ledger and its verification use.
#ifndef SOTTO_SERVER_LEDGER_ACCOUNT_H_
#define SOTTO_SERVER_LEDGER_ACCOUNT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "proto/sotto/v1/ledger_service.pb.h"
#include "server/accounting/charge.h"
#include "server/ledger/granted_steps.h"
#include "server/ledger/job_charge.h"

namespace sotto::ledger {

// Where a job's account stands, in compositions: mostly steps, with shuffled batches epochs.
struct Account {
  std::string job;
  std::string dataset;
  JobCharge charge;
  int64_t reserved = 0;   // at admission: of all segments, like the next two
  int64_t committed = 0;  // granted and not returned; a step counts each time it is granted
  int64_t released = 0;   // at the end
  SegmentCounts committed_by_segment;
  int64_t attempt = 0;  // newest attempt; older ones are refused
  // How many steps the newest attempt returned; set: it gets no further grants.
  std::optional<int64_t> returned;
  bool settled = false;
  // The end of the steps that any attempt may have run, and the same before the newest one that
  // was granted any: who goes on inside an epoch finds it paid.
  int64_t run_end = 0;
  int64_t earlier_run_end = 0;

  // What may still be granted, where all cost the same.
  int64_t remaining() const { return reserved - committed - released; }
  // What the attempt's grants cost so far, when they begin at `first_step`.
  SegmentCounts CostOf(int64_t first_step, int64_t end_step) const {
    return charge.compositions.Count(first_step, end_step, earlier_run_end);
  }
  void Commit(const SegmentCounts& counts);
  void Return(const SegmentCounts& counts);
};

// An account that has just been opened.
Account OpenAccount(std::string job, std::string dataset, JobCharge charge);

// The rules of grants and returns, for the ledger and for its verification alike.

// The next grant of the account's newest attempt, whose grants so far are `grants`; [first_step,
// end_step) follows them. Gives what is covered of it, and adds the cost to the account; `cost` is
// how many compositions that is.
GrantedSteps CommitSteps(const std::vector<GrantedSteps>& grants, int64_t first_step,
                         int64_t end_step, Account& account, int64_t& cost);
// Steps of the newest attempt's `grants` from `started_end` on come back. Gives those steps;
// `count` is how many compositions they are.
GrantedSteps ReturnSteps(const std::vector<GrantedSteps>& grants, int64_t started_end,
                         Account& account, int64_t& count);

struct DatasetTotals {
  accounting::ChargeTotals committed;
  accounting::ChargeTotals reserved;  // with what is committed
};

// `accounts` in the order of their admission: sums of doubles depend on it.
DatasetTotals TotalsOf(const std::vector<Account>& accounts);

// Do the totals stay within the dataset's budget? True without a budget.
bool FitsBudget(const accounting::ChargeTotals& totals, const v1::Dataset& dataset);

// Fills spent, reserved and left in.
void FillBalances(const DatasetTotals& totals, v1::Dataset& dataset);

}  // namespace sotto::ledger

#endif  // SOTTO_SERVER_LEDGER_ACCOUNT_H_
