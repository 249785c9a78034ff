#include "tools/check/gnuplot.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/base/fd.h"
#include "common/base/status_macros.h"

extern char** environ;

namespace sotto::check {
namespace {

// A file in memory, for the script and for what comes back: no pipe can fill up.
absl::StatusOr<UniqueFd> MemoryFile(const std::string& contents) {
  UniqueFd file(memfd_create("gnuplot", MFD_CLOEXEC));
  if (!file.is_valid()) return absl::ErrnoToStatus(errno, "cannot make a file in memory");
  RETURN_IF_ERROR(WriteAll(file.get(), contents));
  lseek(file.get(), 0, SEEK_SET);
  return file;
}

absl::StatusOr<std::string> Contents(const UniqueFd& file) {
  lseek(file.get(), 0, SEEK_SET);
  return ReadAll(file.get());
}

}  // namespace

absl::StatusOr<std::string> RunGnuplot(const std::string& script) {
  ASSIGN_OR_RETURN(const UniqueFd in, MemoryFile(script));
  ASSIGN_OR_RETURN(const UniqueFd out, MemoryFile(""));
  ASSIGN_OR_RETURN(const UniqueFd errors, MemoryFile(""));
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in.get(), STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, out.get(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, errors.get(), STDERR_FILENO);
  std::string program = "gnuplot";
  char* const arguments[] = {program.data(), nullptr};
  pid_t pid = -1;
  const int error =
      posix_spawnp(&pid, program.c_str(), &actions, /*attrp=*/nullptr, arguments, environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) {
    return absl::NotFoundError("plots need gnuplot (Debian's gnuplot-nox), which is not installed");
  }
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
  ASSIGN_OR_RETURN(const std::string complaints, Contents(errors));
  if (status != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("gnuplot failed: ", absl::StripAsciiWhitespace(complaints)));
  }
  return Contents(out);
}

std::string GnuplotQuoted(const std::string& text) {
  return absl::StrCat("'", absl::StrReplaceAll(text, {{"'", "''"}}), "'");
}

std::string GnuplotDoubleQuoted(const std::string& text) {
  return absl::StrCat("\"", absl::StrReplaceAll(text, {{"\"", "'"}}), "\"");
}

}  // namespace sotto::check
