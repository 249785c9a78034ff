// The folder that holds all state of one coordinator, and the right to use it.
#ifndef SOTTO_SERVER_DATABASE_STATE_DIRECTORY_H_
#define SOTTO_SERVER_DATABASE_STATE_DIRECTORY_H_

#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/base/fd.h"

namespace sotto::database {

// Holds the folder's lock while it lives; the kernel gives the lock up when the process dies,
// however it dies. Claim it before anything else of the coordinator, ports included. Files: `lock`,
// `address`, `sotto.db`.
class StateDirectory {
 public:
  // Creates the folder (mode 0700, with parents) when it is missing, takes the lock, and removes an
  // `address` left by a coordinator that died. FAILED_PRECONDITION: another coordinator holds the
  // lock (the message names its address), or the folder is read-only. PERMISSION_DENIED: not ours.
  // NOT_FOUND: no such parent can be made.
  static absl::StatusOr<std::unique_ptr<StateDirectory>> Claim(const std::string& path);

  // Removes the address and gives the lock up.
  ~StateDirectory();

  StateDirectory(const StateDirectory&) = delete;
  StateDirectory& operator=(const StateDirectory&) = delete;

  const std::string& path() const { return path_; }
  // "<path>/<name>".
  std::string File(absl::string_view name) const;

  // Writes `address` (such as "unix:/tmp/sotto-x/socket") for those who find the folder locked.
  absl::Status PublishAddress(absl::string_view address);

 private:
  StateDirectory(std::string path, UniqueFd lock)
      : path_(std::move(path)), lock_(std::move(lock)) {}

  const std::string path_;
  const UniqueFd lock_;
};

}  // namespace sotto::database

#endif  // SOTTO_SERVER_DATABASE_STATE_DIRECTORY_H_
