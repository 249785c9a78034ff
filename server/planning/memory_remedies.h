// What a user can change so that a job fits into memory.
#ifndef SOTTO_SERVER_PLANNING_MEMORY_REMEDIES_H_
#define SOTTO_SERVER_PLANNING_MEMORY_REMEDIES_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/functional/function_ref.h"
#include "proto/sotto/v1/spec.pb.h"
#include "server/planning/planner.h"
#include "server/planning/remedy_search.h"

namespace sotto::planning {

// Bytes that one rank may use: the spec's limit, or its share of the host.
int64_t MemoryLimit(const v1::JobSpec& spec, const HostFacts& host);

// For a job of `spec`, with defaults, whose rank needs `needed_bytes` and may not: "one of these
// would fit: ..." (remedy_search.h), each found by placing the job with it. Tried are smaller
// micro-batches (where the spec fixes them), other gradient modes, fewer gathered slots,
// FULL_SHARD, other numbers of workers, activation checkpointing, and these together. Without any:
// that none does, and the limit that the job as it stands needs.
std::string MemoryRemedies(const v1::JobSpec& spec, const HostFacts& host, int64_t needed_bytes);

// The same for a job that does not train, where `bytes` says what a rank needs under the spec
// (none: it makes no job): smaller batches, fewer gathered slots, FULL_SHARD, fewer workers.
// `field` becomes inference.batch_size where that is the first thing to change, else workers.count.
std::string InferenceRemedies(const v1::JobSpec& spec, const HostFacts& host,
                              absl::FunctionRef<std::optional<int64_t>(const v1::JobSpec&)> bytes,
                              std::string& field);

}  // namespace sotto::planning

#endif  // SOTTO_SERVER_PLANNING_MEMORY_REMEDIES_H_
