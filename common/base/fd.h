// File descriptors with an owner. Every descriptor of the project is O_CLOEXEC: nothing leaks into
// spawned processes.
#ifndef SOTTO_COMMON_BASE_FD_H_
#define SOTTO_COMMON_BASE_FD_H_

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace sotto {

// Owns a descriptor and closes it. Move-only; not thread-safe.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(other.Release()) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    Reset(other.Release());
    return *this;
  }
  ~UniqueFd() { Reset(); }

  int get() const { return fd_; }
  bool is_valid() const { return fd_ >= 0; }

  // Gives ownership up.
  int Release() { return std::exchange(fd_, -1); }
  // Closes the descriptor and owns `fd` instead.
  void Reset(int fd = -1);

 private:
  int fd_ = -1;
};

// open(2) with O_CLOEXEC added. Errors carry errno's canonical code (NOT_FOUND, PERMISSION_DENIED,
// ...) and the path.
absl::StatusOr<UniqueFd> OpenFile(const std::string& path, int flags, int mode = 0600);

struct Pipe {
  UniqueFd read_end;
  UniqueFd write_end;
};
// pipe2(2) with O_CLOEXEC.
absl::StatusOr<Pipe> MakePipe();

// Writes all of `data`, through partial writes and EINTR.
absl::Status WriteAll(int fd, absl::string_view data);

// Reads until end of file.
absl::StatusOr<std::string> ReadAll(int fd);

}  // namespace sotto

#endif  // SOTTO_COMMON_BASE_FD_H_
