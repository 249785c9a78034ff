// The measured process: one training that runs a step each time it is told to.
#ifndef SOTTO_BENCH_MODE_TRAINER_H_
#define SOTTO_BENCH_MODE_TRAINER_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace sotto::bench {

// Trains by the plan (a serialised JobPlan): one step at once, then one for each line on stdin,
// until it closes. Writes "<seconds> <CPU seconds> <seconds of sampling, noise and optimizer> <peak
// resident bytes> <peak bytes of tensors>" to stdout after each. The ranks of a plan for several
// share the memfd of the plan's communicator; a rank alone needs none (-1).
absl::Status TrainOnDemand(const std::string& plan_path, int rank, int memfd);

// Writes the median gradient norm of the plan's first micro-batch to stdout: clipping there clips
// half of the examples.
absl::Status PrintMedianNorm(const std::string& plan_path);

// Writes this machine's rates with so many threads to stdout, a DeviceProfile message in one line.
void PrintDeviceProfile(int threads);

}  // namespace sotto::bench

#endif  // SOTTO_BENCH_MODE_TRAINER_H_
