// The optimizer and the learning rate that a plan asks for.
#ifndef SOTTO_WORKER_PLAN_OPTIMIZER_H_
#define SOTTO_WORKER_PLAN_OPTIMIZER_H_

#include <memory>
#include <vector>

#include "proto/sotto/v1/plan.pb.h"
#include "worker/fsdp/sharded_parameters.h"
#include "worker/optim/learning_rate_schedule.h"
#include "worker/optim/optimizer.h"

namespace sotto {

// Over this rank's master shards, whose storage it shares.
std::unique_ptr<optim::Optimizer> MakeOptimizer(const v1::JobPlan& plan,
                                                fsdp::ShardedParameters& parameters);

optim::LearningRateSchedule::Options LearningRateOptions(const v1::JobPlan& plan);

}  // namespace sotto

#endif  // SOTTO_WORKER_PLAN_OPTIMIZER_H_
