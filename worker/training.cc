#include "worker/training.h"

#include <utility>

#include "common/base/status_macros.h"
#include "worker/train/torch_errors.h"
#include "worker/training_assembly.h"

namespace sotto {

absl::StatusOr<std::unique_ptr<Training>> Training::Create(Options options, crypto::Secret secret,
                                                           const Parts& parts) {
  absl::StatusOr<std::unique_ptr<Assembly>> assembly = absl::UnknownError("");
  const absl::Status status = train::CatchTorchErrors([&] {
    assembly = Assembly::Create(std::move(options), std::move(secret), parts);
    return assembly.status();
  });
  RETURN_IF_ERROR(status);
  return std::unique_ptr<Training>(new Training(*std::move(assembly)));
}

Training::Training(std::unique_ptr<Assembly> assembly) : assembly_(std::move(assembly)) {}
Training::~Training() = default;

absl::StatusOr<train::TrainLoop::Outcome> Training::Run() {
  absl::StatusOr<train::TrainLoop::Outcome> outcome = absl::UnknownError("");
  const absl::Status status = train::CatchTorchErrors([&] {
    outcome = assembly_->loop().Run();
    return outcome.status();
  });
  RETURN_IF_ERROR(status);
  return outcome;
}

int64_t Training::started_steps() const { return assembly_->loop().started_steps(); }
int64_t Training::completed_steps() const { return assembly_->loop().completed_steps(); }
fsdp::ShardedParameters& Training::parameters() { return assembly_->parameters(); }
optim::Optimizer& Training::optimizer() { return assembly_->optimizer(); }
const train::PhaseProfile& Training::phase_profile() const { return assembly_->phase_profile(); }

}  // namespace sotto
