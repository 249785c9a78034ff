#include "worker/comm/testing/rank_processes.h"

#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <map>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "common/base/log.h"
#include "gtest/gtest.h"

extern char** environ;

namespace sotto::comm {
namespace {

constexpr char kRankFlag[] = "--sotto_rank=";  // body, rank, world size, argument
constexpr int kInheritedMemfd = 20;

std::map<std::string, RankBody>& Bodies() {
  static auto& bodies = *new std::map<std::string, RankBody>();
  return bodies;
}

int RunBody(const std::string& text) {
  const std::vector<std::string> parts = absl::StrSplit(text, absl::MaxSplits(',', 3));
  SOTTO_CHECK(parts.size() == 4);
  RankContext context{.memfd = kInheritedMemfd, .argument = parts[3]};
  SOTTO_CHECK(absl::SimpleAtoi(parts[1], &context.rank) &&
              absl::SimpleAtoi(parts[2], &context.world_size));
  const auto body = Bodies().find(parts[0]);
  SOTTO_CHECK(body != Bodies().end()) << parts[0];
  const absl::Status status = body->second(context);
  if (!status.ok()) std::cerr << "rank " << context.rank << ": " << status << std::endl;
  return status.ok() ? 0 : 1;
}

}  // namespace

RankBodyRegistration::RankBodyRegistration(const char* name, RankBody body) {
  SOTTO_CHECK(Bodies().emplace(name, body).second) << name;
}

int RankTestMain(int argc, char** argv) {
  const std::string flag = kRankFlag;
  if (argc == 2 && std::string(argv[1]).starts_with(flag))
    return RunBody(std::string(argv[1]).substr(flag.size()));
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}

RankProcesses::RankProcesses(const Options& options)
    : memfd_(memfd_create("sotto-test", MFD_CLOEXEC)),
      pids_(options.world_size, -1),
      running_(options.world_size, false) {
  SOTTO_CHECK(memfd_.is_valid() && ftruncate(memfd_.get(), options.memfd_bytes) == 0);
  for (int rank = 0; rank < options.world_size; ++rank) {
    posix_spawn_file_actions_t actions;
    SOTTO_CHECK(posix_spawn_file_actions_init(&actions) == 0);
    SOTTO_CHECK(posix_spawn_file_actions_adddup2(&actions, memfd_.get(), kInheritedMemfd) == 0);
    std::string flag = absl::StrCat(kRankFlag, options.body, ",", rank, ",", options.world_size,
                                    ",", options.argument);
    std::string program = "/proc/self/exe";
    char* const arguments[] = {program.data(), flag.data(), nullptr};
    SOTTO_CHECK(posix_spawn(&pids_[rank], program.c_str(), &actions, nullptr, arguments, environ) ==
                0);
    posix_spawn_file_actions_destroy(&actions);
    running_[rank] = true;
  }
}

RankProcesses::~RankProcesses() {
  for (size_t rank = 0; rank < pids_.size(); ++rank) {
    if (!running_[rank]) continue;
    kill(pids_[rank], SIGKILL);
    waitpid(pids_[rank], nullptr, 0);
  }
}

void RankProcesses::Kill(int rank) { kill(pids_[rank], SIGKILL); }

bool RankProcesses::AllSucceed(int except, absl::Duration timeout) {
  const absl::Time deadline = absl::Now() + timeout;
  bool succeeded = true;
  for (int rank = 0; rank < static_cast<int>(pids_.size()); ++rank) {
    const UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pids_[rank], 0)));
    pollfd ended{.fd = pidfd.get(), .events = POLLIN};
    const int64_t left = std::max<int64_t>(0, absl::ToInt64Milliseconds(deadline - absl::Now()));
    if (poll(&ended, 1, static_cast<int>(left)) != 1) {
      std::cerr << "rank " << rank << " has not ended in time" << std::endl;
      Kill(rank);
    }
    int status = 0;
    waitpid(pids_[rank], &status, 0);
    running_[rank] = false;
    if (rank != except && status != 0) succeeded = false;
  }
  return succeeded;
}

}  // namespace sotto::comm
