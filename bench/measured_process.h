// A process that trains one step whenever it is told to, and says how long each took.
#ifndef SOTTO_BENCH_MEASURED_PROCESS_H_
#define SOTTO_BENCH_MEASURED_PROCESS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "bench/child_process.h"

namespace sotto::bench {

struct StepTimes {
  double seconds = 0;
  double cpu_seconds = 0;      // of all threads
  double release_seconds = 0;  // sampling, noise and optimizer; 0 where it is not known
};

// Not thread-safe.
class MeasuredProcess {
 public:
  // Starts the program and waits for its first step, which only warms up. UNAVAILABLE: it ended.
  static absl::StatusOr<std::unique_ptr<MeasuredProcess>> Start(
      const std::string& program, const std::vector<std::string>& arguments);

  // Runs one step. Errors as Start.
  absl::StatusOr<StepTimes> Step();

  // High-water mark of resident memory after the last step.
  int64_t peak_bytes() const { return peak_bytes_; }
  // The allocator's high-water mark; 0 for a peer.
  int64_t tensor_peak_bytes() const { return tensor_peak_bytes_; }

 private:
  explicit MeasuredProcess(std::unique_ptr<ChildProcess> child) : child_(std::move(child)) {}

  absl::StatusOr<StepTimes> Read();

  const std::unique_ptr<ChildProcess> child_;
  int64_t peak_bytes_ = 0;
  int64_t tensor_peak_bytes_ = 0;
};

}  // namespace sotto::bench

#endif  // SOTTO_BENCH_MEASURED_PROCESS_H_
