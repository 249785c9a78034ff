// Where the coordinator's Unix socket lives.
#ifndef SOTTO_SERVER_SOCKET_FOLDER_H_
#define SOTTO_SERVER_SOCKET_FOLDER_H_

#include <string>

#include "absl/status/statusor.h"

namespace sotto {

// A folder of mode 0700 under /tmp, because a socket's path has 107 characters at most and a state
// directory may be anywhere. The same one for each life of the coordinator over this state
// directory, whose file `socket_folder` names it, so that workers that outlive a coordinator find
// the next one. The caller holds the state directory's lock.
struct SocketFolder {
  std::string path;
  bool is_new = false;  // nobody was told of it yet
};
absl::StatusOr<SocketFolder> ClaimSocketFolder(const std::string& state_dir);

// At an end without workers: removes the folder and its socket. Its name is kept for the next
// coordinator, so that clients which wait for one find it.
void RemoveSocketFolder(const std::string& folder);

}  // namespace sotto

#endif  // SOTTO_SERVER_SOCKET_FOLDER_H_
