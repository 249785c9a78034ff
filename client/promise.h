// The promise that a private job makes, word for word the same wherever it is printed.
#ifndef SOTTO_CLIENT_PROMISE_H_
#define SOTTO_CLIENT_PROMISE_H_

#include <string>

#include "proto/sotto/v1/plan.pb.h"

namespace sotto::client {

// What a job may spend. With a crash reserve that is more than its planned steps cost: steps that
// run again after a lost attempt are paid from it.
struct EpsilonBounds {
  double planned = 0;         // while no attempt is lost
  double reserved = 0;        // whatever is lost; the same where there is no reserve
  double reserved_delta = 0;  // what `reserved` holds at: the job's delta, or a budget's larger one

  bool has_reserve() const { return reserved > planned; }
};
EpsilonBounds BoundsOf(const v1::JobPlan& plan);

// The promise of a job that may still lose attempts: both bounds. A job that is not private gets a
// sentence that says so.
std::string Promise(const v1::JobPlan& plan);

// The promise of a job that spent `spent`; without `lost_attempts` as above. Bounds are rounded up,
// and none is below `spent`.
std::string PromiseAfter(const v1::JobPlan& plan, double spent, bool lost_attempts);

}  // namespace sotto::client

#endif  // SOTTO_CLIENT_PROMISE_H_
