#include "tools/check/rank_gang.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <iostream>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/base/fd.h"
#include "common/base/files.h"

extern char** environ;

namespace sotto::check {
namespace {

constexpr char kRankFlag[] = "--rank_of_a_check=";  // rank, world size, parent, directory
constexpr int kInheritedMemfd = 20;

std::string LogPath(const std::string& directory, int rank) {
  return absl::StrCat(directory, "/rank-", rank, ".log");
}

// The rank, or errno.
pid_t Spawn(int rank, int world_size, int memfd, const std::string& directory, int* error) {
  const std::string log = LogPath(directory, rank);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, log.c_str(),
                                   O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_adddup2(&actions, memfd, kInheritedMemfd);
  std::string program = "sotto-check";
  std::string flag = absl::StrCat(kRankFlag, rank, ",", world_size, ",", getpid(), ",", directory);
  char* const arguments[] = {program.data(), flag.data(), nullptr};
  pid_t pid = -1;
  *error = posix_spawn(&pid, "/proc/self/exe", &actions, /*attrp=*/nullptr, arguments, environ);
  posix_spawn_file_actions_destroy(&actions);
  return pid;
}

std::string HowItEnded(int status) {
  if (WIFSIGNALED(status)) {
    return absl::StrCat("was killed by signal ", WTERMSIG(status), " (",
                        strsignal(WTERMSIG(status)), ")");
  }
  return absl::StrCat("ended with code ", WEXITSTATUS(status));
}

std::string LastLine(const std::string& path) {
  const absl::StatusOr<std::string> log = ReadFile(path);
  if (!log.ok()) return "";
  const std::vector<std::string> lines = absl::StrSplit(*log, '\n', absl::SkipEmpty());
  return lines.empty() ? "" : absl::StrCat(": ", lines.back());
}

}  // namespace

std::optional<int> RunIfRank(int argc, char** argv,
                             absl::FunctionRef<absl::Status(const RankContext&)> body) {
  if (argc != 2) return std::nullopt;
  absl::string_view text = argv[1];
  if (!absl::ConsumePrefix(&text, kRankFlag)) return std::nullopt;
  const std::vector<std::string> parts = absl::StrSplit(text, absl::MaxSplits(',', 3));
  RankContext context{.memfd = kInheritedMemfd};
  pid_t parent = 0;
  if (parts.size() != 4 || !absl::SimpleAtoi(parts[0], &context.rank) ||
      !absl::SimpleAtoi(parts[1], &context.world_size) || !absl::SimpleAtoi(parts[2], &parent)) {
    return 2;
  }
  context.directory = parts[3];
  // A check that is interrupted leaves nothing that computes on for nobody.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) return 2;  // It ended before that.
  const absl::Status status = body(context);
  if (!status.ok()) std::cerr << status.message() << std::endl;
  return status.ok() ? 0 : 1;
}

absl::Status RunRanks(int world_size, int64_t memfd_bytes, const std::string& directory) {
  const UniqueFd memfd(memfd_create("sotto-check", MFD_CLOEXEC));
  if (!memfd.is_valid() || ftruncate(memfd.get(), memfd_bytes) != 0) {
    return absl::ErrnoToStatus(errno, "cannot make shared memory for the ranks");
  }
  std::vector<pid_t> pids;
  absl::Status result;
  for (int rank = 0; rank < world_size && result.ok(); ++rank) {
    int error = 0;
    pids.push_back(Spawn(rank, world_size, memfd.get(), directory, &error));
    if (error == 0) continue;
    result = absl::ErrnoToStatus(error, absl::StrCat("cannot start rank ", rank));
    pids.pop_back();
    for (const pid_t pid : pids) kill(pid, SIGKILL);
  }
  // A rank that dies takes the others with it (the communicator's watchdog): the first to end is
  // the one to blame.
  for (size_t left = pids.size(); left > 0; --left) {
    int status = 0;
    pid_t ended = -1;
    while ((ended = waitpid(-1, &status, 0)) < 0 && errno == EINTR) continue;
    int rank = 0;
    while (rank < static_cast<int>(pids.size()) && pids[rank] != ended) ++rank;
    if (status == 0 || !result.ok()) continue;
    result = absl::InternalError(
        absl::StrCat("rank ", rank, " ", HowItEnded(status), LastLine(LogPath(directory, rank))));
  }
  return result;
}

}  // namespace sotto::check
