#include "common/checkpoint/merged_tensors.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/status_macros.h"

namespace sotto::checkpoint {
namespace {

// Floats read at once, about: 4 MB.
constexpr int64_t kPieceElements = 1 << 20;

constexpr char kDown[] = ".lora_A.weight";
constexpr char kUp[] = ".lora_B.weight";

int64_t CountElements(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (const int64_t extent : shape) count *= extent;
  return count;
}

absl::Status Misfit(const std::string& name, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("tensor ", name, " ", why));
}

// row_C += scale * sum_k left_R[k] right_RC[k, :]
void AddProduct(const std::vector<float>& left_R, const std::vector<float>& right_RC, double scale,
                absl::Span<float> row_C) {
  const size_t columns = row_C.size();
  std::vector<double> sum_C(columns, 0);
  for (size_t k = 0; k < left_R.size(); ++k) {
    const double factor = scale * left_R[k];
    const float* right_C = right_RC.data() + k * columns;
    for (size_t c = 0; c < columns; ++c) sum_C[c] += factor * right_C[c];
  }
  for (size_t c = 0; c < columns; ++c) row_C[c] = static_cast<float>(row_C[c] + sum_C[c]);
}

// [rows, columns] to [columns, rows].
std::vector<float> Transposed(const std::vector<float>& matrix, int64_t rows) {
  const int64_t columns = static_cast<int64_t>(matrix.size()) / rows;
  std::vector<float> transposed(matrix.size());
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) transposed[c * rows + r] = matrix[r * columns + c];
  }
  return transposed;
}

}  // namespace

int64_t MergedTensors::Tensor::num_elements() const { return CountElements(shape); }

absl::StatusOr<MergedTensors> MergedTensors::Create(const Checkpoint& checkpoint) {
  MergedTensors merged(checkpoint);
  const v1::CheckpointManifest& manifest = checkpoint.manifest();
  merged.rows_are_inputs_ = manifest.model().has_gpt2();
  std::map<std::string, Place> downs, ups;  // by the name of the layer
  std::map<std::string, int> weights;
  for (const v1::CheckpointUnit& unit : manifest.units()) {
    for (const v1::CheckpointTensor& tensor : unit.tensors()) {
      const Place place{
          unit.name(), tensor.offset(), {tensor.shape().begin(), tensor.shape().end()}};
      absl::string_view layer = tensor.name();
      if (absl::ConsumeSuffix(&layer, kDown)) {
        downs[std::string(layer)] = place;
      } else if (absl::ConsumeSuffix(&layer, kUp)) {
        ups[std::string(layer)] = place;
      } else {
        if (absl::ConsumeSuffix(&layer, ".weight")) {
          weights[std::string(layer)] = static_cast<int>(merged.tensors_.size());
        }
        merged.tensors_.push_back({tensor.name(), place.shape});
        merged.places_.push_back(place);
      }
    }
  }
  merged.adapters_.resize(merged.tensors_.size());
  for (const auto& [layer, down] : downs) {
    if (!ups.contains(layer)) return Misfit(layer + kUp, "is missing");
    if (!weights.contains(layer)) return Misfit(layer + ".weight", "is missing");
    RETURN_IF_ERROR(merged.AddAdapter(weights[layer], down, ups[layer]));
    ups.erase(layer);
  }
  if (!ups.empty()) return Misfit(ups.begin()->first + kDown, "is missing");
  return merged;
}

absl::Status MergedTensors::AddAdapter(int index, const Place& down, const Place& up) {
  const Tensor& weight = tensors_[index];
  if (weight.shape.size() != 2 || down.shape.size() != 2 || up.shape.size() != 2 ||
      down.shape[0] != up.shape[1] || down.shape[0] < 1) {
    return Misfit(weight.name, "does not fit the shapes of its adapter");
  }
  const std::vector<int64_t> expected = rows_are_inputs_
                                            ? std::vector<int64_t>{down.shape[1], up.shape[0]}
                                            : std::vector<int64_t>{up.shape[0], down.shape[1]};
  if (weight.shape != expected) {
    return Misfit(weight.name, "does not fit the shapes of its adapter");
  }
  const int64_t rank = down.shape[0];
  const v1::LoraSpec& lora = checkpoint_->manifest().model().adaptation().lora();
  scale_ = lora.has_alpha() ? lora.alpha() / static_cast<double>(rank) : 1;
  adapters_[index] = {rank, down, up};
  return absl::OkStatus();
}

absl::Status MergedTensors::ReadPieces(
    const Place& place, int64_t piece_elements,
    const std::function<absl::Status(absl::Span<float>)>& sink) const {
  const int64_t elements = CountElements(place.shape);
  std::vector<float> piece;
  for (int64_t done = 0; done < elements; done += static_cast<int64_t>(piece.size())) {
    piece.resize(std::min(piece_elements, elements - done));
    RETURN_IF_ERROR(
        checkpoint_->Read(place.unit, "master", place.offset + done, absl::MakeSpan(piece)));
    RETURN_IF_ERROR(sink(absl::MakeSpan(piece)));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<float>> MergedTensors::ReadWhole(const Place& place) const {
  std::vector<float> values(CountElements(place.shape));
  RETURN_IF_ERROR(checkpoint_->Read(place.unit, "master", place.offset, absl::MakeSpan(values)));
  return values;
}

absl::Status MergedTensors::Read(int index, const Sink& sink) const {
  if (adapters_[index].rank > 0) return ReadAdapted(index, sink);
  return ReadPieces(places_[index], kPieceElements, sink);
}

absl::Status MergedTensors::ReadAdapted(int index, const Sink& sink) const {
  const Adapter& adapter = adapters_[index];
  const int64_t rank = adapter.rank;
  ASSIGN_OR_RETURN(const std::vector<float> down, ReadWhole(adapter.down));
  ASSIGN_OR_RETURN(const std::vector<float> up, ReadWhole(adapter.up));
  // A row of the weight is row_R right_RC.
  const std::vector<float> rows =
      rows_are_inputs_ ? Transposed(down, rank) : up;  // [rows of the weight, rank]
  const std::vector<float> right_RC = rows_are_inputs_ ? Transposed(up, adapter.up.shape[0]) : down;
  const int64_t columns = tensors_[index].shape[1];
  const int64_t rows_per_piece = std::max<int64_t>(1, kPieceElements / columns);
  auto row = rows.begin();
  return ReadPieces(places_[index], rows_per_piece * columns, [&](absl::Span<float> piece) {
    for (; !piece.empty() && row != rows.end(); row += rank) {
      AddProduct({row, row + rank}, right_RC, scale_, piece.subspan(0, columns));
      RETURN_IF_ERROR(sink(piece.subspan(0, columns)));
      piece.remove_prefix(columns);
    }
    return absl::OkStatus();
  });
}

}  // namespace sotto::checkpoint
