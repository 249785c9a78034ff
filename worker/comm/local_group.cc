#include "worker/comm/local_group.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/base/status_macros.h"
#include "worker/comm/futex.h"

namespace sotto::comm {

// Zero is the valid initial state of every member: whoever comes first needs to set nothing up.
struct LocalGroup::Header {
  std::atomic<uint32_t> events;      // what waiters sleep on: counts everything they may wait for
  std::atomic<uint32_t> generation;  // barriers passed
  std::atomic<uint32_t> arrived;     // ranks at the current barrier
  std::atomic<uint32_t> aborted_by;  // 1 + rank that called Abort()
  std::atomic<uint32_t> ended;       // 1 + rank whose process ended
  std::atomic<uint32_t> left;        // 1 + rank that left first
  std::atomic<uint32_t> has_left[kMaxWorldSize];
  std::atomic<int32_t> process_ids[kMaxWorldSize];
};

absl::StatusOr<std::unique_ptr<LocalGroup>> LocalGroup::Attach(void* mapping, int rank,
                                                               int world_size,
                                                               absl::Duration timeout) {
  static_assert(sizeof(Header) <= kHeaderBytes);
  std::unique_ptr<LocalGroup> group(new LocalGroup(mapping, rank, world_size));
  RETURN_IF_ERROR(group->AwaitEveryone(timeout));
  return group;
}

LocalGroup::LocalGroup(void* mapping, int rank, int world_size)
    : rank_(rank),
      world_size_(world_size),
      header_(static_cast<Header*>(mapping)),
      peers_(world_size) {}

LocalGroup::~LocalGroup() {
  header_->has_left[rank_] = 1;
  uint32_t nobody = 0;
  header_->left.compare_exchange_strong(nobody, 1 + rank_);
  WakeEveryone();
  if (watchdog_.joinable()) {
    const uint64_t one = 1;
    if (write(stop_.get(), &one, sizeof(one)) == sizeof(one)) watchdog_.join();
  }
}

absl::Status LocalGroup::AwaitEveryone(absl::Duration timeout) {
  header_->process_ids[rank_] = getpid();
  const absl::Status attached = ArriveAndWait(absl::Now() + timeout);
  if (absl::IsDeadlineExceeded(attached)) {
    return absl::UnavailableError(absl::StrCat(
        "rank ", rank_, " waited ", absl::FormatDuration(timeout), " for the others to attach"));
  }
  RETURN_IF_ERROR(attached);
  RETURN_IF_ERROR(OpenPeers());
  stop_.Reset(eventfd(0, EFD_CLOEXEC));
  if (!stop_.is_valid()) return absl::ErrnoToStatus(errno, "eventfd");
  watchdog_ = std::thread([this] { WatchPeers(); });
  // Whoever passes this barrier knows that every rank watches.
  return Barrier();
}

absl::Status LocalGroup::OpenPeers() {
  for (int peer = 0; peer < world_size_; ++peer) {
    if (peer == rank_) continue;
    peers_[peer].Reset(
        static_cast<int>(syscall(SYS_pidfd_open, header_->process_ids[peer].load(), 0)));
    if (peers_[peer].is_valid()) continue;
    header_->ended = 1 + peer;
    WakeEveryone();
    return GroupStatus();
  }
  return absl::OkStatus();
}

void LocalGroup::WatchPeers() {
  std::vector<pollfd> watched;
  std::vector<int> ranks;
  for (int peer = 0; peer < world_size_; ++peer) {
    if (peer == rank_) continue;
    watched.push_back({.fd = peers_[peer].get(), .events = POLLIN});
    ranks.push_back(peer);
  }
  watched.push_back({.fd = stop_.get(), .events = POLLIN});
  while (true) {
    if (poll(watched.data(), watched.size(), /*timeout=*/-1) < 0) continue;  // EINTR
    if (watched.back().revents != 0) return;
    for (size_t i = 0; i + 1 < watched.size(); ++i) {
      if (watched[i].revents == 0) continue;
      watched[i].fd = -1;  // poll skips it from now on
      if (header_->has_left[ranks[i]] != 0) continue;
      uint32_t nobody = 0;
      header_->ended.compare_exchange_strong(nobody, 1 + ranks[i]);
      WakeEveryone();
    }
  }
}

absl::Status LocalGroup::GroupStatus() const {
  if (const uint32_t by = header_->aborted_by; by != 0) {
    return absl::AbortedError(absl::StrCat("rank ", by - 1, " aborted the group"));
  }
  if (const uint32_t ended = header_->ended; ended != 0) {
    return absl::UnavailableError(absl::StrCat("the process of rank ", ended - 1, " has ended"));
  }
  return absl::OkStatus();
}

absl::Status LocalGroup::ArriveAndWait(absl::Time deadline) {
  RETURN_IF_ERROR(GroupStatus());
  const uint32_t generation = header_->generation;
  if (header_->arrived.fetch_add(1) + 1 == static_cast<uint32_t>(world_size_)) {
    header_->arrived = 0;
    header_->generation.fetch_add(1);
    WakeEveryone();
    return absl::OkStatus();
  }
  while (true) {
    const uint32_t events =
        header_->events;  // Read before the look: an event after it makes the futex return at once.
    if (header_->generation != generation) break;
    RETURN_IF_ERROR(GroupStatus());
    if (const uint32_t left = header_->left; left != 0) {
      if (header_->generation != generation) break;  // It left after this barrier.
      return absl::UnavailableError(absl::StrCat("rank ", left - 1, " has left the group"));
    }
    if (absl::Now() >= deadline)
      return absl::DeadlineExceededError("a barrier was not reached in time");
    FutexWait(header_->events, events, deadline);
  }
  return absl::OkStatus();
}

void LocalGroup::WakeEveryone() {
  header_->events.fetch_add(1);
  FutexWakeAll(header_->events);
}

absl::Status LocalGroup::Barrier() { return ArriveAndWait(absl::InfiniteFuture()); }

void LocalGroup::Abort() {
  uint32_t nobody = 0;
  header_->aborted_by.compare_exchange_strong(nobody, 1 + rank_);
  WakeEveryone();
}

}  // namespace sotto::comm
