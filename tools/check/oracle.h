// The same training once more, in fp64: autograd, one example at a time, no sharding, no padding.
// Shares neither layers nor clipping nor optimizer with worker/.
#ifndef SOTTO_TOOLS_CHECK_ORACLE_H_
#define SOTTO_TOOLS_CHECK_ORACLE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/dataset/token_file.h"
#include "common/layout/model_description.h"
#include "proto/sotto/v1/plan.pb.h"
#include "tests/equivalence/example_gradient.h"
#include "tools/check/recorded_run.h"

namespace sotto::check {

// Externally synchronised.
class Oracle {
 public:
  // Starts from the plan's initial values. The plan has SGD without momentum at a constant rate.
  // UNIMPLEMENTED: no reference for this family.
  static absl::StatusOr<std::unique_ptr<Oracle>> Create(const v1::JobPlan& plan);

  // Of the examples' gradients at the present parameters, all records of the file.
  double MedianGradientNorm() const;

  // All steps of the plan, with its batches and its noise; without clipping when `clips` is false.
  // Appends the parameters after each step to the file (training_rank.h: Snapshots), unless the
  // name is empty. Call once.
  absl::StatusOr<RecordedRun> Train(bool clips, const std::string& snapshots);

 private:
  Oracle(v1::JobPlan plan, layout::ModelDescription description,
         std::unique_ptr<dataset::TokenFile> file);

  void Initialize();
  equivalence::ExampleGradient Gradient(int64_t record) const;
  // The sum over the batch, without noise.
  RecordedStep SumBatch(const std::vector<int64_t>& batch, bool clips);
  absl::Status Update(int64_t step);
  std::vector<RecordedLayer> MeasureLayers() const;
  absl::Status AppendSnapshot(const std::string& path) const;

  const v1::JobPlan plan_;
  const layout::ModelDescription description_;
  const std::unique_ptr<dataset::TokenFile> file_;
  equivalence::UnitTensors parameters_;  // float64
  equivalence::UnitTensors sum_;
};

}  // namespace sotto::check

#endif  // SOTTO_TOOLS_CHECK_ORACLE_H_
