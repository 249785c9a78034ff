#include "common/base/fd.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"

namespace sotto {

void UniqueFd::Reset(int fd) {
  if (fd_ >= 0) close(fd_);  // Linux releases the descriptor even when close reports an error.
  fd_ = fd;
}

absl::StatusOr<UniqueFd> OpenFile(const std::string& path, int flags, int mode) {
  while (true) {
    UniqueFd fd(open(path.c_str(), flags | O_CLOEXEC, mode));
    if (fd.is_valid()) return fd;
    if (errno != EINTR) return absl::ErrnoToStatus(errno, absl::StrCat("cannot open ", path));
  }
}

absl::StatusOr<Pipe> MakePipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return absl::ErrnoToStatus(errno, "cannot create a pipe");
  return Pipe{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

absl::Status WriteAll(int fd, absl::string_view data) {
  while (!data.empty()) {
    const ssize_t written = write(fd, data.data(), data.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return absl::ErrnoToStatus(errno, "cannot write");
    }
    data.remove_prefix(written);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadAll(int fd) {
  std::string contents;
  char buffer[1 << 16];
  while (true) {
    const ssize_t count = read(fd, buffer, sizeof(buffer));
    if (count == 0) return contents;
    if (count < 0) {
      if (errno == EINTR) continue;
      return absl::ErrnoToStatus(errno, "cannot read");
    }
    contents.append(buffer, count);
  }
}

}  // namespace sotto
