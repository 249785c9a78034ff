#include "common/base/scratch_folder.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <set>
#include <thread>

#include "common/base/files.h"
#include "common/base/mutex.h"
#include "common/base/status_macros.h"

namespace sotto {
namespace {

struct LivingFolders {
  Mutex mutex;
  std::set<std::string> paths ABSL_GUARDED_BY(mutex);
};

// Never destroyed: a signal may come while statics are.
LivingFolders& Living() {
  static LivingFolders& living = *new LivingFolders;
  return living;
}

// A child that creates a file meanwhile makes one attempt fail; in a folder that is gone it cannot.
void Remove(const std::string& path) {
  constexpr int kAttempts = 100;
  std::error_code error;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    std::filesystem::remove_all(path, error);
    if (!std::filesystem::exists(path, error)) return;
  }
}

int signals_out = -1;  // end of a pipe, for the handler

void PassOn(int signal) {
  const int saved_errno = errno;
  const auto byte = static_cast<uint8_t>(signal);
  static_cast<void>(!write(signals_out, &byte, 1));  // Best effort: the pipe holds thousands.
  errno = saved_errno;
}

// Holds the mutex to the end: nobody makes a folder any more.
void RemoveAllAndEnd(int signals_in) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  uint8_t byte = 0;
  ssize_t count = 0;
  while ((count = read(signals_in, &byte, 1)) < 0 && errno == EINTR) continue;
  if (count != 1) return;
  LivingFolders& living = Living();
  living.mutex.Lock();
  for (const std::string& path : living.paths) Remove(path);
  signal(byte, SIG_DFL);
  kill(getpid(), byte);
}

}  // namespace

absl::StatusOr<std::unique_ptr<ScratchFolder>> ScratchFolder::Create(const std::string& prefix) {
  LivingFolders& living = Living();
  MutexLock lock(&living.mutex);
  ASSIGN_OR_RETURN(std::string path, MakeTempDir(prefix));
  living.paths.insert(path);
  return std::unique_ptr<ScratchFolder>(new ScratchFolder(std::move(path)));
}

ScratchFolder::~ScratchFolder() {
  LivingFolders& living = Living();
  MutexLock lock(&living.mutex);
  Remove(path_);
  living.paths.erase(path_);
}

absl::Status RemoveScratchFoldersOnSignals() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return absl::ErrnoToStatus(errno, "no pipe for signals");
  signals_out = ends[1];
  std::thread(RemoveAllAndEnd, ends[0]).detach();
  struct sigaction action = {};
  action.sa_handler = PassOn;
  action.sa_flags = SA_RESTART;
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction inherited = {};
    sigaction(signal, nullptr, &inherited);
    // Of a nohup, or of a script's background job.
    if (inherited.sa_handler != SIG_IGN) sigaction(signal, &action, nullptr);
  }
  return absl::OkStatus();
}

}  // namespace sotto
