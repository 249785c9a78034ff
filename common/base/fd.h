// Ownership of a file descriptor. Every descriptor is opened with O_CLOEXEC; what a child may inherit is named at spawn.
#ifndef SOTTO_COMMON_BASE_FD_H_
#define SOTTO_COMMON_BASE_FD_H_

#include <unistd.h>

#include <utility>

namespace sotto {

// Closes its descriptor when destroyed. Move-only. Externally synchronised.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  ~UniqueFd() { Reset(); }

  UniqueFd(UniqueFd&& other) noexcept : fd_(other.Release()) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) {
      Reset();
      fd_ = other.Release();
    }
    return *this;
  }

  int get() const { return fd_; }
  bool is_valid() const { return fd_ >= 0; }

  // Gives ownership away; the object is then empty.
  int Release() { return std::exchange(fd_, -1); }

  void Reset() {
    if (fd_ >= 0) close(Release());
  }

 private:
  int fd_ = -1;
};

}  // namespace sotto

#endif  // SOTTO_COMMON_BASE_FD_H_
