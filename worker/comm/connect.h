// How a rank comes by its communicator.
#ifndef SOTTO_WORKER_COMM_CONNECT_H_
#define SOTTO_WORKER_COMM_CONNECT_H_

#include <memory>

#include "absl/status/statusor.h"
#include "worker/comm/local_communicator.h"

namespace sotto::comm {

// The communicator of a rank on this host: a world of one needs no memfd, every other one shares
// it. Errors: those of LocalCommunicator::Create.
absl::StatusOr<std::unique_ptr<Communicator>> Connect(const LocalCommunicator::Options& options);

}  // namespace sotto::comm

#endif  // SOTTO_WORKER_COMM_CONNECT_H_
