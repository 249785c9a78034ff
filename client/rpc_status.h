// What a coordinator's error says, for people.
#ifndef SOTTO_CLIENT_RPC_STATUS_H_
#define SOTTO_CLIENT_RPC_STATUS_H_

#include <grpcpp/support/status.h>

#include "absl/status/status.h"

namespace sotto::client {

// The same code; the message has a line for every field violation of the details that it does not
// name already.
absl::Status FromRpc(const grpc::Status& status);

}  // namespace sotto::client

#endif  // SOTTO_CLIENT_RPC_STATUS_H_
