// Ranks as processes of this program's own executable.
//
// Never forks: a process that ran a two-threaded ATen operation hangs after it. Each run gets fresh
// processes, so that peaks of memory are its own.
#ifndef SOTTO_TOOLS_CHECK_RANK_GANG_H_
#define SOTTO_TOOLS_CHECK_RANK_GANG_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"

namespace sotto::check {

struct RankContext {
  int rank = 0;
  int world_size = 1;
  int memfd = -1;         // mapped by all ranks
  std::string directory;  // of the run
};

// The exit code of a process that was spawned as a rank, after `body`; nothing for any other. A
// rank dies with its parent.
std::optional<int> RunIfRank(int argc, char** argv,
                             absl::FunctionRef<absl::Status(const RankContext&)> body);

// Spawns the ranks and waits for all of them. What they write to stdout is dropped, their stderr
// goes to `directory`/rank-R.log. INTERNAL: a rank failed; says which, how it ended and the last
// line of its log.
absl::Status RunRanks(int world_size, int64_t memfd_bytes, const std::string& directory);

}  // namespace sotto::check

#endif  // SOTTO_TOOLS_CHECK_RANK_GANG_H_
