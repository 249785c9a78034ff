// Addresses to listen on, checked before gRPC sees them.
#ifndef SOTTO_SERVER_API_LISTEN_ADDRESS_H_
#define SOTTO_SERVER_API_LISTEN_ADDRESS_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace sotto::api {

// "unix:/path".
bool IsUnixAddress(absl::string_view address);

// Makes sure that binding `address` takes nothing from a running server: gRPC itself would replace
// the socket file of a living one, and would be content with one free address of several behind a
// name. A socket file that nobody answers on is removed. UNAVAILABLE: the port or socket is taken.
// INVALID_ARGUMENT: neither "unix:/path" nor "host:port", or a path too long for a socket.
// ALREADY_EXISTS: the path is another kind of file.
absl::Status PrepareToListen(const std::string& address);

}  // namespace sotto::api

#endif  // SOTTO_SERVER_API_LISTEN_ADDRESS_H_
