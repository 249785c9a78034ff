// The ranks of one host that share a mapping: who is there, a barrier, and the news that a rank has
// gone.
#ifndef SOTTO_WORKER_COMM_LOCAL_GROUP_H_
#define SOTTO_WORKER_COMM_LOCAL_GROUP_H_

#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/fd.h"

namespace sotto::comm {

// Waiting is a futex: no spinning. A watchdog thread polls the peers' pidfds; when one ends without
// having left, it says so in the mapping and wakes everyone. Abort may be called by any thread; all
// else is externally synchronised.
class LocalGroup {
 public:
  static constexpr int kMaxWorldSize = 256;

  // Of the mapping, from its start.
  static constexpr int64_t kHeaderBytes = 64 * 1024;

  // Waits until every rank has attached. `mapping` is shared by them, all zero when the first one
  // attaches, and outlives the group. UNAVAILABLE: a rank did not attach in time or has ended.
  static absl::StatusOr<std::unique_ptr<LocalGroup>> Attach(void* mapping, int rank, int world_size,
                                                            absl::Duration timeout);

  // Leaves: peers that still wait for this rank fail with UNAVAILABLE.
  ~LocalGroup();

  LocalGroup(const LocalGroup&) = delete;
  LocalGroup& operator=(const LocalGroup&) = delete;

  // Waits until every rank has arrived. ABORTED: a rank called Abort. UNAVAILABLE: one has ended,
  // or has left before it arrived.
  absl::Status Barrier();

  // Fails every wait of every rank, now and later.
  void Abort();

 private:
  struct Header;

  LocalGroup(void* mapping, int rank, int world_size);

  absl::Status AwaitEveryone(absl::Duration timeout);
  absl::Status OpenPeers();
  void WatchPeers();
  // As Barrier. DEADLINE_EXCEEDED: `deadline` has passed.
  absl::Status ArriveAndWait(absl::Time deadline);
  absl::Status GroupStatus() const;
  void WakeEveryone();

  const int rank_;
  const int world_size_;
  Header* const header_;
  std::vector<UniqueFd> peers_;  // pidfds; invalid at rank_
  UniqueFd stop_;                // eventfd: ends the watchdog
  std::thread watchdog_;
};

}  // namespace sotto::comm

#endif  // SOTTO_WORKER_COMM_LOCAL_GROUP_H_
