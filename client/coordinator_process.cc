#include "client/coordinator_process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/base/executable.h"
#include "common/base/fd.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "nlohmann/json.hpp"

extern char** environ;

namespace sotto::client {
namespace {

constexpr int kAddressFd = 3;

// The message of the last line of a log of JSON lines.
std::string LastMessage(const std::string& log_path) {
  absl::StatusOr<std::string> log = ReadFile(log_path);
  if (!log.ok()) return "no log";
  absl::string_view text = absl::StripTrailingAsciiWhitespace(*log);
  const size_t line = text.rfind('\n');
  if (line != absl::string_view::npos) text.remove_prefix(line + 1);
  const nlohmann::json entry =
      nlohmann::json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (entry.is_object() && entry.contains("message") && entry["message"].is_string()) {
    return entry["message"].get<std::string>();
  }
  return std::string(text);
}

absl::Status MakeDirectories(const std::string& path) {
  std::error_code error;
  // Only its owner may look into a new one; one that is there keeps its mode.
  if (std::filesystem::create_directories(path, error)) {
    std::filesystem::permissions(path, std::filesystem::perms::owner_all, error);
  }
  if (error) return absl::ErrnoToStatus(error.value(), absl::StrCat("state folder ", path));
  return absl::OkStatus();
}

// The child's descriptors: stdin empty, output and errors to the log, the pipe's end at kAddressFd.
class SpawnSetup {
 public:
  SpawnSetup(const std::string& log_path, int pipe_end) {
    posix_spawn_file_actions_init(&actions_);
    posix_spawn_file_actions_addopen(&actions_, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions_, 1, log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND,
                                     0600);
    posix_spawn_file_actions_adddup2(&actions_, 1, 2);
    posix_spawn_file_actions_adddup2(&actions_, pipe_end, kAddressFd);
    posix_spawnattr_init(&attributes_);
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&attributes_, &none);
    posix_spawnattr_setpgroup(&attributes_, 0);  // A Ctrl-C at the terminal is the client's alone.
    posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
  }
  ~SpawnSetup() {
    posix_spawn_file_actions_destroy(&actions_);
    posix_spawnattr_destroy(&attributes_);
  }
  SpawnSetup(const SpawnSetup&) = delete;
  SpawnSetup& operator=(const SpawnSetup&) = delete;

  absl::StatusOr<pid_t> Spawn(std::vector<std::string> arguments) {
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    pid_t pid = 0;
    const int error = posix_spawn(&pid, argv[0], &actions_, &attributes_, argv.data(), environ);
    if (error != 0) return absl::ErrnoToStatus(error, absl::StrCat("starting ", arguments[0]));
    return pid;
  }

 private:
  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
};

// Everything up to the end of the pipe: one line, or nothing when the coordinator ended first.
std::string ReadAddress(int fd) {
  std::string address;
  char buffer[256];
  while (address.find('\n') == std::string::npos) {
    const ssize_t count = read(fd, buffer, sizeof(buffer));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    address.append(buffer, count);
  }
  return std::string(absl::StripAsciiWhitespace(address));
}

}  // namespace

absl::StatusOr<std::unique_ptr<CoordinatorProcess>> CoordinatorProcess::Start(
    const Options& options) {
  const std::string executable =
      options.executable.empty() ? BesideThisExecutable("sotto-coordinator") : options.executable;
  RETURN_IF_ERROR(MakeDirectories(options.state_dir));
  ASSIGN_OR_RETURN(Pipe pipe, MakePipe());
  // A copy away from kAddressFd: dup2 onto itself would keep O_CLOEXEC.
  pipe.write_end.Reset(fcntl(pipe.write_end.get(), F_DUPFD_CLOEXEC, kAddressFd + 1));
  if (!pipe.write_end.is_valid()) return absl::ErrnoToStatus(errno, "copying a pipe's end");

  std::vector<std::string> arguments = {
      executable, absl::StrCat("--state_dir=", options.state_dir),
      absl::StrCat("--address_fd=", kAddressFd), "--end_with_parent",
      options.stops_workers ? "--on_exit=stop" : "--on_exit=drain"};
  if (options.slots > 0) arguments.push_back(absl::StrCat("--slots=", options.slots));
  const std::string log_path = absl::StrCat(options.state_dir, "/coordinator.log");
  ASSIGN_OR_RETURN(const pid_t pid,
                   SpawnSetup(log_path, pipe.write_end.get()).Spawn(std::move(arguments)));
  pipe.write_end.Reset();
  const std::string address = ReadAddress(pipe.read_end.get());
  if (address.empty()) {
    waitpid(pid, nullptr, 0);
    return absl::UnavailableError(
        absl::StrCat("the coordinator did not start: ", LastMessage(log_path)));
  }
  return std::unique_ptr<CoordinatorProcess>(new CoordinatorProcess(pid, address));
}

CoordinatorProcess::~CoordinatorProcess() { Stop(); }

absl::Status CoordinatorProcess::CheckRuns() {
  if (pid_ != 0) {
    if (waitpid(pid_, &wait_status_, WNOHANG) != pid_) return absl::OkStatus();
    pid_ = 0;
  }
  return absl::UnavailableError(
      absl::StrCat("the coordinator that was started for this call ",
                   WIFSIGNALED(wait_status_) ? "was killed by signal " : "ended with exit code ",
                   WIFSIGNALED(wait_status_) ? WTERMSIG(wait_status_) : WEXITSTATUS(wait_status_)));
}

void CoordinatorProcess::Stop() {
  if (pid_ == 0) return;
  kill(pid_, SIGTERM);
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  pid_ = 0;
}

std::string DefaultStateDir() {
  if (const char* state = getenv("XDG_STATE_HOME"); state != nullptr && *state != '\0') {
    return absl::StrCat(state, "/sotto");
  }
  const char* home = getenv("HOME");
  return absl::StrCat(home == nullptr ? "" : home, "/.local/state/sotto");
}

}  // namespace sotto::client
