// Who is calling.
#ifndef SOTTO_SERVER_API_CALLER_H_
#define SOTTO_SERVER_API_CALLER_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace sotto::api {

// Until there is authentication, a caller is known by where it connects: the socket's mode 0600
// lets only the coordinator's own user (and root) in, who hold every role; everyone else may only
// read.
enum class Role { kReader, kEveryRole };

// `peer` as grpc::ServerContextBase::peer() gives it, such as "unix:" or "ipv4:127.0.0.1:5000".
// Anything that is not known to be a Unix socket is a reader.
Role RoleOfPeer(absl::string_view peer);

// OK, or PERMISSION_DENIED that says what to do. `what`: "submit jobs".
absl::Status RequireEveryRole(absl::string_view peer, absl::string_view what);

}  // namespace sotto::api

#endif  // SOTTO_SERVER_API_CALLER_H_
