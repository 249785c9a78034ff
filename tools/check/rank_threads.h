// Ranks as threads of this process: for checks of one public batch.
#ifndef SOTTO_TOOLS_CHECK_RANK_THREADS_H_
#define SOTTO_TOOLS_CHECK_RANK_THREADS_H_

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "worker/comm/communicator.h"

namespace sotto::check {

// INVALID_ARGUMENT: --world_size is not from 1 to 64.
absl::Status CheckWorldSize(int world_size);

// Calls `body` once per rank and waits for all. One that fails makes the others' collectives fail;
// the first error is told. `bytes`: of the shared memory (layout::CommunicatorBytes).
absl::Status RunAsThreads(int world_size, int64_t bytes,
                          absl::FunctionRef<absl::Status(comm::Communicator&)> body);

}  // namespace sotto::check

#endif  // SOTTO_TOOLS_CHECK_RANK_THREADS_H_
