// What an attempt's sampling and noise are keyed by.
#ifndef SOTTO_WORKER_ATTEMPT_SECRET_H_
#define SOTTO_WORKER_ATTEMPT_SECRET_H_

#include <string>

#include "absl/status/statusor.h"
#include "common/crypto/secret.h"
#include "proto/sotto/v1/plan.pb.h"

namespace sotto {

// `welcome_secret` is what the coordinator sent, 256 bits; empty for jobs that promise nothing,
// whose key is the plan's public seed. The caller wipes its copy. FAILED_PRECONDITION: a private
// job without those bits. A coordinator that was restarted no longer has them; a rank that had not
// heard from the one before cannot go on, and the next attempt gets fresh ones. Guarantee: no
// private job draws from a key that others know.
absl::StatusOr<crypto::Secret> ChooseSecret(const v1::JobPlan& plan,
                                            const std::string& welcome_secret);

}  // namespace sotto

#endif  // SOTTO_WORKER_ATTEMPT_SECRET_H_
