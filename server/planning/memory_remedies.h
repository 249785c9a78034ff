// What a user can change so that a job fits into memory.
#ifndef SOTTO_SERVER_PLANNING_MEMORY_REMEDIES_H_
#define SOTTO_SERVER_PLANNING_MEMORY_REMEDIES_H_

#include <cstdint>
#include <string>

#include "proto/sotto/v1/spec.pb.h"
#include "server/planning/planner.h"

namespace sotto::planning {

// For a job that does not fit into `limit_bytes` for each rank: every single change of its spec
// that makes it fit, with the bytes of a rank then: "train.micro_batch_size 4 needs 310 MiB". Tried
// are smaller micro-batches (where the spec fixes them), other gradient modes, more workers,
// activation checkpointing. Without any: the limit that the job as it stands needs, `needed_bytes`.
// `spec` has defaults.
std::string MemoryRemedies(const v1::JobSpec& spec, const HostFacts& host, int64_t limit_bytes,
                           int64_t needed_bytes);

}  // namespace sotto::planning

#endif  // SOTTO_SERVER_PLANNING_MEMORY_REMEDIES_H_
