// Plans for measuring gradient modes: fixed-length records, every record in every step.
#ifndef SOTTO_BENCH_MODE_PLAN_H_
#define SOTTO_BENCH_MODE_PLAN_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "common/layout/device_profile.h"
#include "proto/sotto/v1/plan.pb.h"

namespace sotto::bench {

// A GPT-2 with an untied head, and the work of one step on it.
struct ModeShape {
  std::string model;  // its name in reports
  int64_t vocabulary_size = 8192;
  int64_t width = 256;
  int64_t layers = 8;
  int64_t heads = 4;
  int64_t tokens = 128;       // T: the length of every record
  int64_t examples = 16;      // B: of a micro-batch
  int64_t micro_batches = 2;  // of a step
  int threads = 1;            // of all ranks
  int ranks = 1;

  int64_t step_tokens() const { return micro_batches * examples * tokens; }
};

// Records of a token file, and where half of the first micro-batch's examples are clipped.
struct ModeRecords {
  std::string path;
  std::string sha256;
  double clip_norm = 1;
};

// The models of 10.5 and 50 million parameters. INVALID_ARGUMENT: another name.
absl::StatusOr<ModeShape> ShapeOfModel(const std::string& model);

// Writes a token file of micro_batches * examples random records; returns its SHA-256.
absl::StatusOr<std::string> WriteRecords(const ModeShape& shape, const std::string& path);

// After a mode's name: its norms are measured after the whole backward pass.
inline constexpr char kDeferredSuffix[] = "+deferred";

// What planning makes of a job: FULL_SHARD, AdamW, sampling rate 1, so that a step is exactly
// micro_batches micro-batches. Noise in every mode but no_dp. Not private, public seed.
absl::StatusOr<v1::JobPlan> MakeModePlan(const ModeShape& shape, const std::string& mode,
                                         const ModeRecords& records,
                                         const layout::DeviceProfile& profile);

// Bytes that the plan promises, less what only a worker with a coordinator needs.
int64_t PlannedBytes(const v1::JobPlan& plan);

// Of its tensors alone, which the allocator's high-water mark is compared with.
int64_t PlannedTensorBytes(const v1::JobPlan& plan);

}  // namespace sotto::bench

#endif  // SOTTO_BENCH_MODE_PLAN_H_
