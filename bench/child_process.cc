#include "bench/child_process.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/status/status.h"

extern char** environ;

namespace sotto::bench {

absl::StatusOr<std::unique_ptr<ChildProcess>> ChildProcess::Start(
    const std::string& program, const std::vector<std::string>& arguments) {
  int to_child[2];
  int from_child[2];
  if (pipe2(to_child, O_CLOEXEC) != 0 || pipe2(from_child, O_CLOEXEC) != 0) {
    return absl::InternalError("no pipe could be made");
  }
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, to_child[0], STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, from_child[1], STDOUT_FILENO);
  std::vector<char*> argv = {const_cast<char*>(program.data())};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.data()));
  argv.push_back(nullptr);
  pid_t pid = 0;
  const int error =
      posix_spawn(&pid, program.c_str(), &actions, /*attrp=*/nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(to_child[0]);
  close(from_child[1]);
  if (error != 0) {
    close(to_child[1]);
    close(from_child[0]);
    return absl::InternalError("the measured process could not be started");
  }
  return std::unique_ptr<ChildProcess>(
      new ChildProcess(pid, fdopen(to_child[1], "w"), fdopen(from_child[0], "r")));
}

ChildProcess::~ChildProcess() {
  fclose(in_);
  fclose(out_);
  waitpid(pid_, nullptr, 0);
}

void ChildProcess::Tell() {
  fputc('\n', in_);
  fflush(in_);
}

absl::StatusOr<std::string> ChildProcess::ReadLine() {
  std::string line;
  for (int c = fgetc(out_); c != EOF; c = fgetc(out_)) {
    if (c == '\n') return line;
    line.push_back(static_cast<char>(c));
  }
  return absl::UnavailableError("the measured process ended");
}

}  // namespace sotto::bench
