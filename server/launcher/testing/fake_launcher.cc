#include "server/launcher/testing/fake_launcher.h"

#include <signal.h>

#include "absl/strings/str_cat.h"

namespace sotto::launcher {
namespace {

// A start time that belongs to the process id, so that a record with another one is recognised.
uint64_t StartTimeOf(pid_t pid) { return 7 * static_cast<uint64_t>(pid); }

}  // namespace

absl::StatusOr<std::vector<WorkerProcess>> FakeLauncher::Launch(const LaunchRequest& request) {
  MutexLock lock(mutex_);
  if (!next_launch_.ok()) return std::exchange(next_launch_, absl::OkStatus());
  launches_.push_back(request);
  std::vector<WorkerProcess> processes;
  for (int rank = 0; rank < request.world_size; ++rank) {
    const pid_t pid = ++last_pid_;
    alive_[pid] = {request, rank};
    processes.push_back({rank, pid, StartTimeOf(pid), "fake-boot"});
  }
  return processes;
}

void FakeLauncher::Adopt(const LaunchRequest& request,
                         const std::vector<WorkerProcess>& processes) {
  for (const WorkerProcess& process : processes) {
    ExitCallback on_exit;
    {
      MutexLock lock(mutex_);
      const auto found = alive_.find(process.pid);
      if (found != alive_.end() && process.start_time == StartTimeOf(process.pid)) {
        found->second.watched = true;
        continue;
      }
      on_exit = on_exit_;
    }
    WorkerExit exit{request.job, request.attempt, process.rank};
    on_exit(exit);
  }
}

absl::Status FakeLauncher::Signal(const WorkerProcess& process, int signal) {
  {
    MutexLock lock(mutex_);
    if (!alive_.contains(process.pid)) {
      return absl::NotFoundError(absl::StrCat("process ", process.pid, " is gone"));
    }
  }
  if (signal == SIGKILL) End(process.pid, WorkerExit::Kind::kSignalled, SIGKILL, std::nullopt);
  return absl::OkStatus();
}

void FakeLauncher::FailNextLaunch(absl::Status status) {
  MutexLock lock(mutex_);
  next_launch_ = std::move(status);
}

bool FakeLauncher::Exit(const std::string& job, int64_t attempt, int rank, WorkerExit::Kind kind,
                        int code, std::optional<ExitRecord> record) {
  pid_t pid = 0;
  {
    MutexLock lock(mutex_);
    for (const auto& [candidate, process] : alive_) {
      if (process.request.job == job && process.request.attempt == attempt &&
          process.rank == rank) {
        pid = candidate;
      }
    }
  }
  if (pid == 0) return false;
  End(pid, kind, code, std::move(record));
  return true;
}

void FakeLauncher::LoseCoordinator(ExitCallback on_exit) {
  MutexLock lock(mutex_);
  on_exit_ = std::move(on_exit);
  for (auto& [pid, process] : alive_) process.watched = false;
}

std::vector<LaunchRequest> FakeLauncher::launches() const {
  MutexLock lock(mutex_);
  return launches_;
}

int FakeLauncher::num_alive() const {
  MutexLock lock(mutex_);
  return static_cast<int>(alive_.size());
}

void FakeLauncher::End(pid_t pid, WorkerExit::Kind kind, int code,
                       std::optional<ExitRecord> record) {
  WorkerExit exit;
  ExitCallback on_exit;
  {
    MutexLock lock(mutex_);
    const auto found = alive_.find(pid);
    if (found == alive_.end()) return;
    const Process& process = found->second;
    exit = {process.request.job, process.request.attempt, process.rank, kind, code,
            std::move(record)};
    if (process.watched) on_exit = on_exit_;
    alive_.erase(found);
  }
  if (on_exit) on_exit(exit);
}

}  // namespace sotto::launcher
