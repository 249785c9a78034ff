#include "server/api/caller.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/api/errors.h"

namespace sotto::api {

Role RoleOfPeer(absl::string_view peer) {
  return absl::StartsWith(peer, "unix:") ? Role::kEveryRole : Role::kReader;
}

absl::Status RequireEveryRole(absl::string_view peer, absl::string_view what) {
  if (RoleOfPeer(peer) == Role::kEveryRole) return absl::OkStatus();
  return WithReason(
      absl::PermissionDeniedError(absl::StrCat("callers over TCP may only read, not ", what,
                                               "; use the coordinator's Unix socket on its host")),
      "READERS_ONLY", {{"operation", std::string(what)}});
}

}  // namespace sotto::api
