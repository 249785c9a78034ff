// From what a user asks for to what workers execute.
#ifndef SOTTO_SERVER_PLANNING_PLANNER_H_
#define SOTTO_SERVER_PLANNING_PLANNER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/layout/device_profile.h"
#include "common/spec/violation.h"
#include "proto/sotto/v1/plan.pb.h"
#include "proto/sotto/v1/spec.pb.h"

namespace sotto::planning {

inline constexpr int kProtocolVersion = 1;

// What the coordinator may give away.
struct HostFacts {
  int slots = 1;                   // workers at most
  int cores = 1;                   // shared by the ranks of a job
  int64_t memory_bytes = 0;        // of the host
  int64_t communicator_bytes = 0;  // largest memfd; 0: no limit but memory_bytes
  // What workers reported, one for each number of threads; none: a typical host's is assumed.
  std::vector<layout::DeviceProfile> device_profiles;
  // A rank with a number of threads that has no profile yet measures one before it trains, and its
  // memory plan counts that.
  bool ranks_measure_device = false;
};

struct PlanOptions {
  bool data_steward = false;  // may run not-private jobs on data that has a budget
};

// Resolves every default, picks cap, noise, micro-batch size, lengths and memory, and proves that
// the job can run. Pure: the same arguments give the same plan, byte for byte.
//
// Private jobs: sigma is calibrated so that `train.steps` steps cost at most privacy.epsilon at
// 0.99 delta, under the dataset's adjacency, the sampler and the noise schedule; or steps are
// solved when both epsilon and noise_multiplier are given and steps are not; or epsilon is computed
// for a given noise_multiplier and steps. Whether the dataset's budget still holds the charge is
// the ledger's to say.
//
// INVALID_ARGUMENT with every broken rule as spec::Violation (spec::ViolationsOf): fields out of
// range, unreachable epsilon, a model or batch that fits no memory, more workers than slots,
// not-private jobs on data with a budget without `data_steward`, samplers that the dataset's
// adjacency does not allow, jobs that do not train (PlanInference is for them). A `dataset` without
// a name is none: everything else is checked still.
absl::StatusOr<v1::JobPlan> Plan(const v1::JobSpec& spec, const v1::DatasetFacts& dataset,
                                 const HostFacts& host, const PlanOptions& options = {});

// The plan of a job that goes on, from a checkpoint, on other workers: what `changes` sets replaces
// the job's workers; fields that have no use under a new strategy, and are not set, get its
// defaults. Privacy, data, steps, micro-batches, seeds and named modes stay; `auto` keeps the modes
// that it picked unless they no longer fit the memory, which a note then says. Pure, like Plan.
// INVALID_ARGUMENT: as Plan, for workers that the host does not have or the job does not fit.
// FAILED_PRECONDITION: something that the result depends on would change; the message names it.
absl::StatusOr<v1::JobPlan> Replan(const v1::JobPlan& plan, const v1::WorkersSpec& changes,
                                   const HostFacts& host);

// The schedule that a plan's workers run, for readers: a step of two micro-batches per rank. Its
// SHA-256 is the plan's sharding.schedule_hash. INVALID_ARGUMENT: not a plan of Plan().
absl::StatusOr<std::string> ScheduleText(const v1::JobPlan& plan);

// `steps` more at most are run again after a crash: those since the last checkpoint and those
// granted but not begun. What they cost in epsilon beyond the plan's own, at the plan's delta.
struct CrashCost {
  int64_t steps = 0;
  double epsilon = 0;
};
absl::StatusOr<CrashCost> CostOfCrash(const v1::JobPlan& plan);

}  // namespace sotto::planning

#endif  // SOTTO_SERVER_PLANNING_PLANNER_H_
