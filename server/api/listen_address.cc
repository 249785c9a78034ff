#include "server/api/listen_address.h"

#include <netdb.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <cerrno>
#include <cstring>
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/fd.h"
#include "common/base/status_macros.h"

namespace sotto::api {
namespace {

constexpr absl::string_view kUnixPrefix = "unix:";

// Is a server answering on the socket file?
absl::StatusOr<bool> IsAnswered(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  const UniqueFd socket_fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket_fd.is_valid()) return absl::ErrnoToStatus(errno, "socket");
  if (connect(socket_fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0) {
    return true;
  }
  if (errno == ECONNREFUSED || errno == ENOENT) return false;
  return absl::ErrnoToStatus(errno, path);
}

absl::Status PrepareUnix(const std::string& path) {
  if (path.empty() || path[0] != '/') {
    return absl::InvalidArgumentError(
        absl::StrCat("a Unix socket needs an absolute path, but it is \"", path, "\""));
  }
  if (path.size() >= sizeof(sockaddr_un::sun_path)) {
    return absl::InvalidArgumentError(
        absl::StrCat("a socket's path has at most ", sizeof(sockaddr_un::sun_path) - 1,
                     " characters, but \"", path, "\" has ", path.size()));
  }
  struct stat file = {};
  if (lstat(path.c_str(), &file) != 0) {
    return errno == ENOENT ? absl::OkStatus() : absl::ErrnoToStatus(errno, path);
  }
  if (!S_ISSOCK(file.st_mode)) {
    return absl::AlreadyExistsError(absl::StrCat(path, " exists and is not a socket"));
  }
  ASSIGN_OR_RETURN(const bool is_answered, IsAnswered(path));
  if (is_answered) {
    return absl::UnavailableError(
        absl::StrCat("socket ", path, " is taken: a server is listening on it"));
  }
  return unlink(path.c_str()) == 0 ? absl::OkStatus() : absl::ErrnoToStatus(errno, path);
}

absl::Status TryBind(const addrinfo& info, const std::string& address) {
  const UniqueFd socket_fd(
      socket(info.ai_family, info.ai_socktype | SOCK_CLOEXEC, info.ai_protocol));
  if (!socket_fd.is_valid()) return absl::OkStatus();  // This host lacks the address family.
  const int on = 1;
  // As gRPC does: a port whose last connections are still closing is free.
  setsockopt(socket_fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (bind(socket_fd.get(), info.ai_addr, info.ai_addrlen) == 0) return absl::OkStatus();
  if (errno == EADDRINUSE) {
    return absl::UnavailableError(
        absl::StrCat("address ", address, " is taken by another process"));
  }
  if (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL) return absl::OkStatus();
  return absl::ErrnoToStatus(errno, absl::StrCat("address ", address));
}

absl::Status PrepareTcp(const std::string& address) {
  const size_t colon = address.rfind(':');
  int port = 0;
  if (colon == std::string::npos || colon == 0 ||
      !absl::SimpleAtoi(address.substr(colon + 1), &port) || port < 0 || port > 65535) {
    return absl::InvalidArgumentError(absl::StrCat(
        "an address to listen on is unix:/path or host:port, but it is \"", address, "\""));
  }
  std::string host = address.substr(0, colon);
  if (absl::StartsWith(host, "[") && absl::EndsWith(host, "]"))
    host = host.substr(1, host.size() - 2);
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.c_str(), absl::StrCat(port).c_str(), &hints, &found);
  if (error != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("host of address ", address, " is not known: ", gai_strerror(error)));
  }
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found, freeaddrinfo);
  for (const addrinfo* info = found; info != nullptr; info = info->ai_next) {
    RETURN_IF_ERROR(TryBind(*info, address));
  }
  return absl::OkStatus();
}

}  // namespace

bool IsUnixAddress(absl::string_view address) { return absl::StartsWith(address, kUnixPrefix); }

absl::Status PrepareToListen(const std::string& address) {
  if (IsUnixAddress(address)) return PrepareUnix(address.substr(kUnixPrefix.size()));
  return PrepareTcp(address);
}

}  // namespace sotto::api
