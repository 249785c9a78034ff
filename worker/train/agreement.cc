#include "worker/train/agreement.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/crypto/sha256.h"

namespace sotto::train {
namespace {

constexpr int kCauses = 4;
constexpr size_t kMessageBytes = 1000;

// What this rank wants, or the error that ends the attempt.
absl::StatusOr<std::optional<StopCause>> CauseOf(const absl::Status& authorized,
                                                 const grant::GrantGate& gate) {
  if (authorized.ok()) return std::optional<StopCause>();
  if (absl::IsDeadlineExceeded(authorized)) return StopCause::kGraceExpired;
  if (!absl::IsCancelled(authorized)) return authorized;
  switch (gate.stop_mode().value_or(grant::StopMode::kAbort)) {
    case grant::StopMode::kFinish:
      return StopCause::kFinish;
    case grant::StopMode::kCheckpoint:
      return StopCause::kCheckpoint;
    case grant::StopMode::kAbort:
      return StopCause::kAbort;
  }
  return absl::InternalError("unknown stop mode");
}

// The message of rank `from`'s error. Bytes travel as the values of floats: every one is exact.
absl::StatusOr<std::string> ShareMessage(comm::Communicator& communicator, int from,
                                         absl::string_view own) {
  std::vector<float> bytes(kMessageBytes, 0);
  if (communicator.rank() == from) {
    for (size_t i = 0; i < std::min(own.size(), kMessageBytes); ++i) {
      bytes[i] = static_cast<unsigned char>(own[i]);
    }
  }
  RETURN_IF_ERROR(communicator.AllReduceSum(absl::MakeSpan(bytes)));
  std::string message;
  for (const float byte : bytes) {
    if (byte != 0) message.push_back(static_cast<char>(static_cast<unsigned char>(byte)));
  }
  return message;
}

// Sets `shared` to the first rank's error, if any; fails as the communicator does.
absl::Status Share(comm::Communicator& communicator, const absl::Status& own,
                   absl::Status& shared) {
  const float code = static_cast<float>(own.code());
  std::vector<float> codes(communicator.world_size());
  RETURN_IF_ERROR(communicator.AllGather({&code, 1}, absl::MakeSpan(codes)));
  const auto failed = std::find_if(codes.begin(), codes.end(), [](float c) { return c != 0; });
  if (failed == codes.end()) return absl::OkStatus();
  const int rank = static_cast<int>(failed - codes.begin());
  ASSIGN_OR_RETURN(const std::string message, ShareMessage(communicator, rank, own.message()));
  shared = absl::Status(static_cast<absl::StatusCode>(static_cast<int>(*failed)),
                        codes.size() == 1 ? message : absl::StrCat("rank ", rank, ": ", message));
  return absl::OkStatus();
}

}  // namespace

absl::Status AgreeOnStatus(comm::Communicator& communicator, const absl::Status& own) {
  absl::Status shared;
  const absl::Status done = Share(communicator, own, shared);
  if (done.ok()) return shared;
  return own.ok() ? done : own;  // A communicator that broke says less than what happened here.
}

// Digests travel as the values of floats: every byte is exact.
absl::Status CheckRanksAgree(comm::Communicator& communicator, absl::string_view what,
                             absl::string_view text) {
  const crypto::Sha256Digest digest = crypto::Sha256Of(text);
  const std::vector<float> own(digest.begin(), digest.end());
  std::vector<float> all(own.size() * communicator.world_size());
  RETURN_IF_ERROR(communicator.AllGather(own, absl::MakeSpan(all)));
  for (size_t i = 0; i < all.size(); ++i) {
    if (all[i] == all[i % own.size()]) continue;
    return absl::FailedPreconditionError(absl::StrCat(
        "ranks must agree on the ", what, ", but rank ", i / own.size(), " differs from rank 0"));
  }
  return absl::OkStatus();
}

absl::StatusOr<grant::StepGrant> AuthorizeOnAllRanks(grant::GrantGate& gate,
                                                     comm::Communicator& communicator, int64_t step,
                                                     std::optional<StopCause>* cause) {
  absl::StatusOr<grant::StepGrant> grant = gate.Authorize(step);
  ASSIGN_OR_RETURN(const std::optional<StopCause> own, CauseOf(grant.status(), gate));
  std::array<double, kCauses> votes{};
  if (own.has_value()) votes[static_cast<int>(*own)] = 1;
  RETURN_IF_ERROR(communicator.AllReduceSum(absl::MakeSpan(votes)));
  for (int strongest = kCauses - 1; strongest >= 0; --strongest) {
    if (votes[strongest] == 0) continue;
    *cause = static_cast<StopCause>(strongest);
    return absl::CancelledError(absl::StrCat("the job was stopped before step ", step));
  }
  return grant;
}

}  // namespace sotto::train
