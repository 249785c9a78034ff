// Decisions that all ranks must take alike.
#ifndef SOTTO_WORKER_TRAIN_AGREEMENT_H_
#define SOTTO_WORKER_TRAIN_AGREEMENT_H_

#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "worker/comm/communicator.h"
#include "worker/grant/grant_gate.h"

namespace sotto::train {

// Compares a text over all ranks. FAILED_PRECONDITION on every rank when two differ, naming `what`.
absl::Status CheckRanksAgree(comm::Communicator& communicator, absl::string_view what,
                             absl::string_view text);

// OK when `own` is OK on every rank; else, on every rank alike, the error of the first rank that
// has one, which is named, and whose message is cut at 1000 bytes. Other errors: the
// communicator's, where `own` is OK.
absl::Status AgreeOnStatus(comm::Communicator& communicator, const absl::Status& own);

// Why a loop ends before its last step, weakest first.
enum class StopCause { kFinish, kCheckpoint, kAbort, kGraceExpired };

// The step's grant, once every rank holds its own; a rank that waits for one makes all wait.
// CANCELLED when any rank was stopped or its coordinator_grace has passed: `cause` is then the
// strongest cause of any rank, the same on all. Other errors: the gate's and the communicator's.
absl::StatusOr<grant::StepGrant> AuthorizeOnAllRanks(grant::GrantGate& gate,
                                                     comm::Communicator& communicator, int64_t step,
                                                     std::optional<StopCause>* cause);

}  // namespace sotto::train

#endif  // SOTTO_WORKER_TRAIN_AGREEMENT_H_
