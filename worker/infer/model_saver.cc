#include "worker/infer/model_saver.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "common/base/status_macros.h"
#include "common/checkpoint/half_floats.h"
#include "common/checkpoint/hugging_face_files.h"
#include "common/checkpoint/hugging_face_folder.h"
#include "common/checkpoint/hugging_face_layout.h"
#include "common/checkpoint/hugging_face_part.h"
#include "common/checkpoint/safetensors_layout.h"
#include "common/layout/flat_layout.h"
#include "common/layout/model_description.h"
#include "common/layout/strategy.h"
#include "worker/fsdp/parameter_slice.h"
#include "worker/train/agreement.h"

namespace sotto::infer {
namespace {

using checkpoint::FileTensor;
using checkpoint::HuggingFaceFolder;
using checkpoint::HuggingFaceLayout;
using checkpoint::HuggingFacePart;
using checkpoint::TensorShape;

// What is copied at once, and then leaves this process's memory.
constexpr size_t kPieceBytes = size_t{4} << 20;

// As the file will hold it.
float Rounded(float value, const std::string& dtype) {
  if (dtype == "BF16") return checkpoint::FloatOfBfloat16(checkpoint::Bfloat16OfFloat(value));
  if (dtype == "F16") return checkpoint::FloatOfFloat16(checkpoint::Float16OfFloat(value));
  return value;
}

std::vector<TensorShape> ShapesOf(const SavePlan& plan,
                                  const layout::ModelDescription& description) {
  std::vector<TensorShape> shapes;
  for (const SavePlan::Tensor& tensor : plan.tensors) {
    shapes.push_back(
        {.name = tensor.name,
         .shape = tensor.unit < 0
                      ? tensor.source.entry->shape
                      : description.units[tensor.unit].parameters[tensor.parameter].shape,
         .dtype = tensor.dtype});
  }
  return shapes;
}

// The part-th of `parts` equal ranges.
layout::Interval Share(int64_t size, int part, int parts) {
  return {size * part / parts, size * (part + 1) / parts};
}

// Every element of the model is one rank's.
fsdp::ParameterSlice OwnPart(fsdp::ShardedParameters& parameters, int unit, int parameter) {
  const fsdp::ParameterSlice slice = fsdp::SliceOf(parameters, unit, parameter);
  const layout::RankGrid& grid = parameters.grid();
  if (grid.shards > 1) return parameters.replica() == 0 ? slice : fsdp::ParameterSlice{};
  const layout::Interval own = Share(slice.values.size(), parameters.replica(), grid.replicas);
  return {.first = slice.first + own.begin, .values = slice.values.subspan(own.begin, own.size())};
}

absl::Status Copy(const FileTensor& source, const layout::Interval& own, int tensor,
                  HuggingFacePart& part) {
  int64_t first = own.begin;
  absl::Span<const uint8_t> bytes =
      source.file->Bytes(*source.entry).subspan(own.begin, own.size());
  while (!bytes.empty()) {
    const absl::Span<const uint8_t> piece = bytes.subspan(0, kPieceBytes);
    RETURN_IF_ERROR(part.WriteBytes(tensor, first,
                                    {reinterpret_cast<const char*>(piece.data()), piece.size()}));
    source.file->Release(piece);
    if (source.bytes_read != nullptr) *source.bytes_read += static_cast<int64_t>(piece.size());
    first += static_cast<int64_t>(piece.size());
    bytes.remove_prefix(piece.size());
  }
  return absl::OkStatus();
}

absl::Status WriteOwn(const SavePlan& plan, fsdp::ShardedParameters& parameters,
                      HuggingFacePart& part) {
  const comm::Communicator& communicator = parameters.communicator();
  for (size_t i = 0; i < plan.tensors.size(); ++i) {
    const SavePlan::Tensor& tensor = plan.tensors[i];
    const int index = static_cast<int>(i);
    if (tensor.unit < 0) {
      const int64_t bytes =
          static_cast<int64_t>(tensor.source.entry->end - tensor.source.entry->begin);
      RETURN_IF_ERROR(Copy(tensor.source,
                           Share(bytes, communicator.rank(), communicator.world_size()), index,
                           part));
      continue;
    }
    const fsdp::ParameterSlice own = OwnPart(parameters, tensor.unit, tensor.parameter);
    RETURN_IF_ERROR(part.Write(index, own.first, own.values));
  }
  return part.Sync();
}

// A tensor that no rank owned would be zero.
absl::Status CheckComplete(const HuggingFaceLayout& files, const HuggingFacePart& part,
                           comm::Communicator& communicator) {
  double written = static_cast<double>(part.bytes_written());
  RETURN_IF_ERROR(communicator.AllReduceSum(absl::MakeSpan(&written, 1)));
  if (written == static_cast<double>(files.num_bytes())) return absl::OkStatus();
  return absl::InternalError(
      absl::StrCat("ranks wrote ", written, " bytes of tensors, not ", files.num_bytes()));
}

// The same on all ranks.
absl::StatusOr<std::string> UnfinishedPath(const SaveOptions& options,
                                           comm::Communicator& communicator) {
  if (!options.unfinished.empty()) return options.unfinished;
  double process = communicator.rank() == 0 ? getpid() : 0;
  RETURN_IF_ERROR(communicator.AllReduceSum(absl::MakeSpan(&process, 1)));
  return HuggingFaceFolder::UnfinishedPath(options.directory, static_cast<int64_t>(process));
}

}  // namespace

absl::Status CheckFinite(const SavePlan& plan, fsdp::ShardedParameters& parameters) {
  for (const SavePlan::Tensor& tensor : plan.tensors) {
    if (tensor.unit < 0) continue;
    const fsdp::ParameterSlice slice = fsdp::SliceOf(parameters, tensor.unit, tensor.parameter);
    const auto found = std::find_if(slice.values.begin(), slice.values.end(), [&](float value) {
      return !std::isfinite(Rounded(value, tensor.dtype));
    });
    if (found == slice.values.end()) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "edited weights must be finite, but element ", slice.first + (found - slice.values.begin()),
        " of tensor ", tensor.name, " is not, as ", tensor.dtype));
  }
  return absl::OkStatus();
}

absl::Status SaveModel(ShardedModel& model, comm::Communicator& communicator, const SavePlan& plan,
                       const SaveOptions& options) {
  ASSIGN_OR_RETURN(const std::string unfinished, UnfinishedPath(options, communicator));
  ASSIGN_OR_RETURN(
      const HuggingFaceLayout layout,
      HuggingFaceLayout::Create(ShapesOf(plan, model.description()), options.max_file_bytes));
  absl::StatusOr<std::unique_ptr<HuggingFaceFolder>> folder = nullptr;  // rank 0's
  if (communicator.rank() == 0) {
    folder = HuggingFaceFolder::Create({.directory = options.directory,
                                        .config = plan.config,
                                        .copies = plan.copies,
                                        .path = unfinished,
                                        .files = options.files},
                                       layout);
  }
  RETURN_IF_ERROR(train::AgreeOnStatus(communicator, folder.status()));
  {
    HuggingFacePart part(layout, unfinished, *options.files);
    RETURN_IF_ERROR(train::AgreeOnStatus(communicator, WriteOwn(plan, model.parameters(), part)));
    RETURN_IF_ERROR(CheckComplete(layout, part, communicator));
  }
  return train::AgreeOnStatus(communicator,
                              *folder == nullptr ? absl::OkStatus() : (*folder)->Publish());
}

}  // namespace sotto::infer
