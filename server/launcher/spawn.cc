#include "server/launcher/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace sotto::launcher {
namespace {

// Above the numbers that the child uses, so that no dup2 overwrites the source of a later one.
constexpr int kLowestSource = 10;

absl::Status SystemError(int error, const std::string& what) {
  if (error == EAGAIN || error == ENOMEM || error == ENOSPC || error == EMFILE || error == ENFILE) {
    return absl::ResourceExhaustedError(
        absl::StrCat(what, ": ", absl::ErrnoToStatus(error, "").message()));
  }
  return absl::ErrnoToStatus(error, what);
}

absl::StatusOr<UniqueFd> MoveUp(UniqueFd descriptor) {
  UniqueFd moved(fcntl(descriptor.get(), F_DUPFD_CLOEXEC, kLowestSource));
  if (!moved.is_valid()) return SystemError(errno, "cannot duplicate a descriptor");
  return moved;
}

// The read end of a pipe that already holds all of `text`, which fits into a pipe's buffer.
absl::StatusOr<UniqueFd> PipeHolding(const std::string& text) {
  ASSIGN_OR_RETURN(Pipe pipe, MakePipe());
  RETURN_IF_ERROR(WriteAll(pipe.write_end.get(), text));
  return MoveUp(std::move(pipe.read_end));
}

class FileActions {
 public:
  FileActions() { posix_spawn_file_actions_init(&actions_); }
  ~FileActions() { posix_spawn_file_actions_destroy(&actions_); }
  FileActions(const FileActions&) = delete;
  posix_spawn_file_actions_t* get() { return &actions_; }

 private:
  posix_spawn_file_actions_t actions_;
};

class Attributes {
 public:
  Attributes() {
    posix_spawnattr_init(&attributes_);
    sigset_t none;
    sigset_t all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setflags(
        &attributes_, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setpgroup(&attributes_, 0);
    posix_spawnattr_setsigmask(&attributes_, &none);
    posix_spawnattr_setsigdefault(&attributes_, &all);
  }
  ~Attributes() { posix_spawnattr_destroy(&attributes_); }
  Attributes(const Attributes&) = delete;
  const posix_spawnattr_t* get() const { return &attributes_; }

 private:
  posix_spawnattr_t attributes_;
};

std::vector<std::string> Arguments(const std::string& binary, const LaunchRequest& request,
                                   int rank) {
  return {binary,
          absl::StrCat("--coordinator=", request.coordinator_address),
          absl::StrCat("--job=", request.job),
          absl::StrCat("--attempt=", request.attempt),
          absl::StrCat("--rank=", rank),
          absl::StrCat("--world_size=", request.world_size),
          absl::StrCat("--token_fd=", kTokenDescriptor),
          absl::StrCat("--memfd=", kMemoryDescriptor),
          absl::StrCat("--run_directory=", request.run_directory)};
}

}  // namespace

absl::StatusOr<UniqueFd> CreateSharedMemory(const std::string& name, int64_t bytes) {
  UniqueFd memory(memfd_create(name.c_str(), MFD_CLOEXEC));
  if (!memory.is_valid()) return SystemError(errno, "memfd_create");
  if (ftruncate(memory.get(), bytes) != 0) {
    return SystemError(errno, absl::StrCat("cannot size shared memory of ", bytes, " bytes"));
  }
  return MoveUp(std::move(memory));
}

absl::StatusOr<pid_t> SpawnWorker(const std::string& binary, const LaunchRequest& request, int rank,
                                  const UniqueFd& memory) {
  ASSIGN_OR_RETURN(UniqueFd token, PipeHolding(request.token));
  const std::string log = absl::StrCat(request.run_directory, "/rank-", rank, ".log");

  FileActions actions;
  posix_spawn_file_actions_addopen(actions.get(), STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(actions.get(), STDOUT_FILENO, log.c_str(),
                                   O_WRONLY | O_CREAT | O_APPEND, S_IRUSR | S_IWUSR);
  posix_spawn_file_actions_adddup2(actions.get(), STDOUT_FILENO, STDERR_FILENO);
  posix_spawn_file_actions_adddup2(actions.get(), token.get(), kTokenDescriptor);
  posix_spawn_file_actions_adddup2(actions.get(), memory.get(), kMemoryDescriptor);
  posix_spawn_file_actions_addclosefrom_np(actions.get(), kMemoryDescriptor + 1);
  posix_spawn_file_actions_addchdir_np(actions.get(), request.run_directory.c_str());

  std::vector<std::string> arguments = Arguments(binary, request, rank);
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);

  const Attributes attributes;
  pid_t pid = 0;
  const int error =
      posix_spawn(&pid, binary.c_str(), actions.get(), attributes.get(), argv.data(), environ);
  if (error == ENOENT) {
    return absl::NotFoundError(absl::StrCat("cannot start ", binary, " in ", request.run_directory,
                                            ": no such file or directory"));
  }
  if (error != 0) return SystemError(error, absl::StrCat("cannot start ", binary));
  return pid;
}

}  // namespace sotto::launcher
