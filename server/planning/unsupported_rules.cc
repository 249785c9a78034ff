#include "server/planning/unsupported_rules.h"

namespace sotto::planning {
namespace {

void CheckOffload(const v1::OffloadSpec& offload, Rules& rules) {
  constexpr char kRule[] = "needs a GPU and is not supported yet: leave it out";
  rules.Require(!offload.parameters(), "workers.offload.parameters", kRule, "true");
  rules.Require(!offload.gradients(), "workers.offload.gradients", kRule, "true");
  rules.Require(!offload.optimizer_state(), "workers.offload.optimizer_state", kRule, "true");
}

}  // namespace

void CheckUnsupported(const v1::JobSpec& spec, Rules& rules) {
  CheckOffload(spec.workers().offload(), rules);
}

}  // namespace sotto::planning
