#include "server/launcher/posix_launcher.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "server/launcher/exit_record.h"
#include "server/launcher/process_identity.h"
#include "server/launcher/spawn.h"

namespace sotto::launcher {
namespace {

void KillAndReap(pid_t pid) {
  kill(-pid, SIGKILL);
  while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
}

// A child that was not reaped yet: its process id is still its own, even when it has ended.
absl::StatusOr<UniqueFd> OpenChild(pid_t pid) {
  UniqueFd descriptor(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!descriptor.is_valid()) return absl::ErrnoToStatus(errno, "pidfd_open");
  return descriptor;
}

}  // namespace

absl::StatusOr<std::unique_ptr<PosixLauncher>> PosixLauncher::Create(
    const std::string& worker_binary, ExitCallback on_exit) {
  ASSIGN_OR_RETURN(std::string boot_id, ReadBootId());
  UniqueFd wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake.is_valid()) return absl::ErrnoToStatus(errno, "eventfd");
  std::error_code error;
  const std::string absolute = std::filesystem::absolute(worker_binary, error).string();
  return std::unique_ptr<PosixLauncher>(new PosixLauncher(
      error ? worker_binary : absolute, std::move(boot_id), std::move(wake), std::move(on_exit)));
}

PosixLauncher::PosixLauncher(std::string worker_binary, std::string boot_id, UniqueFd wake,
                             ExitCallback on_exit)
    : worker_binary_(std::move(worker_binary)),
      boot_id_(std::move(boot_id)),
      wake_(std::move(wake)),
      on_exit_(std::move(on_exit)),
      thread_([this] { WatchLoop(); }) {}

PosixLauncher::~PosixLauncher() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  Wake();
  thread_.join();
}

absl::StatusOr<std::vector<WorkerProcess>> PosixLauncher::Launch(const LaunchRequest& request) {
  std::error_code error;
  std::filesystem::create_directories(request.run_directory, error);
  if (error) {
    return absl::ErrnoToStatus(error.value(),
                               absl::StrCat("cannot create ", request.run_directory));
  }
  ASSIGN_OR_RETURN(const UniqueFd memory,
                   CreateSharedMemory(absl::StrCat("sotto-", request.job, "-", request.attempt),
                                      request.communicator_bytes));
  std::vector<WorkerProcess> processes;
  std::vector<Watched> watched;
  const auto launch_rank = [&](int rank) -> absl::Status {
    ASSIGN_OR_RETURN(const pid_t pid, SpawnWorker(worker_binary_, request, rank, memory));
    processes.push_back({rank, pid, 0, boot_id_});
    ASSIGN_OR_RETURN(processes.back().start_time, ReadStartTime(pid));
    ASSIGN_OR_RETURN(UniqueFd process, OpenChild(pid));
    watched.push_back({request.job, request.attempt, rank, request.run_directory,
                       std::move(process), /*child=*/true});
    return absl::OkStatus();
  };
  for (int rank = 0; rank < request.world_size; ++rank) {
    const absl::Status status = launch_rank(rank);
    if (status.ok()) continue;
    for (const WorkerProcess& process : processes) KillAndReap(process.pid);
    return status;
  }
  Watch(std::move(watched));
  return processes;
}

void PosixLauncher::Adopt(const LaunchRequest& request,
                          const std::vector<WorkerProcess>& processes) {
  std::vector<Watched> watched;
  for (const WorkerProcess& process : processes) {
    absl::StatusOr<UniqueFd> descriptor = OpenProcess(process);
    watched.push_back({request.job, request.attempt, process.rank, request.run_directory,
                       descriptor.ok() ? *std::move(descriptor) : UniqueFd(), /*child=*/false});
  }
  Watch(std::move(watched));
}

absl::Status PosixLauncher::Signal(const WorkerProcess& process, int signal) {
  ASSIGN_OR_RETURN(const UniqueFd descriptor, OpenProcess(process));
  if (syscall(SYS_pidfd_send_signal, descriptor.get(), signal, nullptr, 0) != 0) {
    if (errno == ESRCH)
      return absl::NotFoundError(absl::StrCat("process ", process.pid, " is gone"));
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot signal process ", process.pid));
  }
  return absl::OkStatus();
}

void PosixLauncher::Watch(std::vector<Watched> watched) {
  {
    MutexLock lock(mutex_);
    for (Watched& process : watched) added_.push_back(std::move(process));
  }
  Wake();
}

void PosixLauncher::Wake() {
  const uint64_t one = 1;
  // Fails only when the counter is full, and then the thread is about to wake anyway.
  [[maybe_unused]] const ssize_t written = write(wake_.get(), &one, sizeof(one));
}

void PosixLauncher::WatchLoop() {
  std::vector<Watched> watched;
  for (;;) {
    {
      MutexLock lock(mutex_);
      if (stopping_) return;
      for (Watched& process : added_) watched.push_back(std::move(process));
      added_.clear();
    }
    std::vector<Watched> rest;
    for (Watched& process : watched) {
      pollfd state{process.process.get(), POLLIN, 0};
      const bool over =
          !process.process.is_valid() || (poll(&state, 1, 0) > 0 && state.revents != 0);
      if (over) {
        Report(process);
      } else {
        rest.push_back(std::move(process));
      }
    }
    watched = std::move(rest);

    std::vector<pollfd> states = {{wake_.get(), POLLIN, 0}};
    for (const Watched& process : watched) states.push_back({process.process.get(), POLLIN, 0});
    if (poll(states.data(), states.size(), /*timeout=*/-1) < 0 && errno != EINTR) {
      SOTTO_LOG(ERROR) << "the watch over workers failed: " << absl::ErrnoToStatus(errno, "poll");
      return;
    }
    uint64_t count = 0;
    [[maybe_unused]] const ssize_t taken = read(wake_.get(), &count, sizeof(count));
  }
}

void PosixLauncher::Report(const Watched& watched) const {
  WorkerExit exit{watched.job, watched.attempt, watched.rank};
  if (watched.child) {
    siginfo_t info{};
    while (waitid(P_PIDFD, watched.process.get(), &info, WEXITED) != 0 && errno == EINTR) {
    }
    exit.kind =
        info.si_code == CLD_EXITED ? WorkerExit::Kind::kExited : WorkerExit::Kind::kSignalled;
    exit.code = info.si_status;
  }
  exit.record = ReadExitRecord(watched.run_directory, watched.job, watched.attempt, watched.rank);
  on_exit_(exit);
}

}  // namespace sotto::launcher
