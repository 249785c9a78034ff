// Plans for measuring gradient modes: fixed-length records, every record in every step.
#ifndef SOTTO_BENCH_MODE_PLAN_H_
#define SOTTO_BENCH_MODE_PLAN_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "proto/sotto/v1/plan.pb.h"

namespace sotto::bench {

struct ModeShape {
  std::string name;  // of the model
  int64_t vocabulary_size = 8192;
  int64_t width = 256;
  int64_t layers = 8;
  int64_t heads = 4;
  int64_t tokens = 128;       // T: the length of every record
  int64_t examples = 16;      // B: of a micro-batch
  int64_t micro_batches = 8;  // of a step
  int threads = 1;
};

// Writes a token file of micro_batches * examples random records; returns its SHA-256.
absl::StatusOr<std::string> WriteRecords(const ModeShape& shape, const std::string& path);

// One rank, FULL_SHARD, AdamW, sampling rate 1, so that a step is exactly micro_batches
// micro-batches. Noise in every mode but no_dp. Not private, public seed.
absl::StatusOr<v1::JobPlan> MakeModePlan(const ModeShape& shape, const std::string& mode,
                                         const std::string& records_path,
                                         const std::string& records_sha256, double clip_norm);

// Bytes that the plan of such a job would promise, less what only a worker with a coordinator
// needs.
absl::StatusOr<int64_t> PlannedBytes(const ModeShape& shape, const std::string& mode);

// Scalars of the model.
absl::StatusOr<int64_t> NumParameters(const ModeShape& shape);

}  // namespace sotto::bench

#endif  // SOTTO_BENCH_MODE_PLAN_H_
