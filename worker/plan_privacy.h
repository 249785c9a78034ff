// Sampling and noise as a plan resolved them.
#ifndef SOTTO_WORKER_PLAN_PRIVACY_H_
#define SOTTO_WORKER_PLAN_PRIVACY_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/crypto/secret.h"
#include "proto/sotto/v1/plan.pb.h"
#include "worker/dp/mechanism.h"
#include "worker/dp/sampler.h"
#include "worker/fsdp/sharded_parameters.h"

namespace sotto {

// `records`: in the dataset's file; private. `job` names it in every attempt. FAILED_PRECONDITION:
// a sampler that this worker does not know, or one that promises nothing under the data's
// adjacency.
absl::StatusOr<std::unique_ptr<dp::Sampler>> MakeSampler(const v1::JobPlan& plan,
                                                         const std::string& job, int64_t records,
                                                         crypto::Secret secret);

// The parameters, whose shards get the noise, are borrowed for the mechanism's life.
// FAILED_PRECONDITION: the plan's sensitivity factor is not that of its adjacency.
absl::StatusOr<std::unique_ptr<dp::Mechanism>> MakeMechanism(const v1::JobPlan& plan,
                                                             fsdp::ShardedParameters& parameters,
                                                             crypto::Secret secret);

}  // namespace sotto

#endif  // SOTTO_WORKER_PLAN_PRIVACY_H_
