#include "tools/check/rank_threads.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/fd.h"
#include "worker/comm/local_communicator.h"
#include "worker/comm/solo_communicator.h"

namespace sotto::check {
namespace {

constexpr int kMostRanks = 64;

}  // namespace

absl::Status CheckWorldSize(int world_size) {
  if (world_size >= 1 && world_size <= kMostRanks) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("--world_size must be from 1 to ", kMostRanks, ", but is ", world_size));
}

absl::Status RunAsThreads(int world_size, int64_t bytes,
                          absl::FunctionRef<absl::Status(comm::Communicator&)> body) {
  if (world_size == 1) {
    comm::SoloCommunicator communicator;
    return body(communicator);
  }
  const UniqueFd memfd(memfd_create("sotto-check", MFD_CLOEXEC));
  if (!memfd.is_valid() || ftruncate(memfd.get(), bytes) != 0) {
    return absl::ErrnoToStatus(errno, "cannot make shared memory");
  }
  std::vector<absl::Status> statuses(world_size);
  std::vector<std::thread> ranks;
  for (int rank = 0; rank < world_size; ++rank) {
    ranks.emplace_back([&, rank] {
      auto communicator = comm::LocalCommunicator::Create(
          {.rank = rank,
           .world_size = world_size,
           .memfd = memfd.get(),
           .region_elements = comm::LocalCommunicator::RegionElements(world_size, bytes)});
      statuses[rank] = communicator.ok() ? body(**communicator) : communicator.status();
      if (communicator.ok() && !statuses[rank].ok()) (*communicator)->Abort();
    });
  }
  for (std::thread& rank : ranks) rank.join();
  absl::Status first;
  for (const absl::Status& status : statuses) {
    if (first.ok() || (absl::IsAborted(first) && !status.ok())) first = status;
  }
  return first;
}

}  // namespace sotto::check
