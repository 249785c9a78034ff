#include "worker/comm/connect.h"

#include "common/base/status_macros.h"
#include "worker/comm/solo_communicator.h"

namespace sotto::comm {

absl::StatusOr<std::unique_ptr<Communicator>> Connect(const LocalCommunicator::Options& options) {
  if (options.world_size == 1) return std::make_unique<SoloCommunicator>();
  ASSIGN_OR_RETURN(std::unique_ptr<Communicator> communicator, LocalCommunicator::Create(options));
  return communicator;
}

}  // namespace sotto::comm
