#include "worker/attempt_secret.h"

#include <cstddef>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace sotto {

namespace {

constexpr size_t kSecretBytes = 32;

}  // namespace

absl::StatusOr<crypto::Secret> ChooseSecret(const v1::JobPlan& plan,
                                            const std::string& welcome_secret) {
  if (plan.privacy().not_private()) {
    return crypto::Secret::FromPublicSeed(plan.spec().privacy().seed());
  }
  if (welcome_secret.size() != kSecretBytes) {
    return absl::FailedPreconditionError(absl::StrCat(
        "a private attempt needs a secret of ", kSecretBytes, " bytes, but the coordinator sent ",
        welcome_secret.size(),
        ": one that was restarted no longer has it; the next attempt gets a fresh one"));
  }
  return crypto::Secret(welcome_secret);
}

}  // namespace sotto
