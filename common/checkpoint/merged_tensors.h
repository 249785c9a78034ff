// The tensors of the model that a checkpoint holds, with low-rank adapters merged into the weights
// that they adapt.
#ifndef SOTTO_COMMON_CHECKPOINT_MERGED_TENSORS_H_
#define SOTTO_COMMON_CHECKPOINT_MERGED_TENSORS_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/checkpoint/checkpoint_reader.h"

namespace sotto::checkpoint {

// Immutable; borrows the checkpoint.
class MergedTensors {
 public:
  struct Tensor {
    std::string name;
    std::vector<int64_t> shape;
    int64_t num_elements() const;
  };

  // INVALID_ARGUMENT, naming the tensor: an adapter without its other half or its weight, or of
  // shapes that do not fit.
  static absl::StatusOr<MergedTensors> Create(const Checkpoint& checkpoint);

  // In the checkpoint's order, without adapters.
  const std::vector<Tensor>& tensors() const { return tensors_; }

  using Sink = std::function<absl::Status(absl::Span<const float>)>;

  // Hands the tensor's elements to `sink`, piece by piece. An adapted weight is W + (alpha / rank)
  // B A, summed in float64 and rounded once; it is held one piece at a time, its adapter whole.
  absl::Status Read(int index, const Sink& sink) const;

 private:
  struct Place {
    std::string unit;
    int64_t offset = 0;
    std::vector<int64_t> shape;
  };
  // Rows of the stored weight are its outputs, or (GPT-2's Conv1D) its inputs.
  struct Adapter {
    int64_t rank = 0;  // 0: none
    Place down;        // A [rank, inputs]
    Place up;          // B [outputs, rank]
  };

  explicit MergedTensors(const Checkpoint& checkpoint) : checkpoint_(&checkpoint) {}

  absl::Status AddAdapter(int index, const Place& down, const Place& up);
  absl::StatusOr<std::vector<float>> ReadWhole(const Place& place) const;
  absl::Status ReadPieces(const Place& place, int64_t piece_elements,
                          const std::function<absl::Status(absl::Span<float>)>& sink) const;
  absl::Status ReadAdapted(int index, const Sink& sink) const;

  const Checkpoint* checkpoint_;
  bool rows_are_inputs_ = false;
  double scale_ = 1;  // alpha / rank
  std::vector<Tensor> tensors_;
  std::vector<Place> places_;
  std::vector<Adapter> adapters_;
};

}  // namespace sotto::checkpoint

#endif  // SOTTO_COMMON_CHECKPOINT_MERGED_TENSORS_H_
