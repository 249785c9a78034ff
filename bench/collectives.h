// Collectives of one rank, timed beside memcpy.
#ifndef SOTTO_BENCH_COLLECTIVES_H_
#define SOTTO_BENCH_COLLECTIVES_H_

#include <cstdint>

#include "absl/status/status.h"
#include "worker/comm/communicator.h"

namespace sotto::bench {

// Every round copies `elements` floats within this process, gathers as many from all ranks and
// reduces as many to all ranks' shards, in another order each time; all ranks do the same at the
// same time. Rank 0 prints a line per round: the seconds of memcpy, all-gather and reduce-scatter
// until the last rank was done. The first round is not printed. Errors: those of the communicator,
// INTERNAL for a wrong sum.
absl::Status TimeCollectives(comm::Communicator& communicator, int64_t elements, int rounds);

}  // namespace sotto::bench

#endif  // SOTTO_BENCH_COLLECTIVES_H_
