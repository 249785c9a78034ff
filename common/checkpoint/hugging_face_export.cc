#include "common/checkpoint/hugging_face_export.h"

#include <memory>
#include <utility>
#include <vector>

#include "common/base/status_macros.h"
#include "common/checkpoint/hugging_face_writer.h"
#include "common/checkpoint/merged_tensors.h"

namespace sotto::checkpoint {

absl::StatusOr<int64_t> ExportHuggingFace(const Checkpoint& checkpoint,
                                          const HuggingFaceExportOptions& options) {
  ASSIGN_OR_RETURN(const MergedTensors merged, MergedTensors::Create(checkpoint));
  std::vector<TensorShape> shapes;
  for (const MergedTensors::Tensor& tensor : merged.tensors()) {
    shapes.push_back(
        {HuggingFaceName(options.model_type, tensor.name), tensor.shape, options.dtype});
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<HuggingFaceWriter> writer,
                   HuggingFaceWriter::Create({.directory = options.directory,
                                              .config = options.config,
                                              .max_file_bytes = options.max_file_bytes,
                                              .files = options.files},
                                             std::move(shapes)));
  for (size_t i = 0; i < merged.tensors().size(); ++i) {
    RETURN_IF_ERROR(merged.Read(static_cast<int>(i), [&](absl::Span<const float> values) {
      return writer->Append(values);
    }));
  }
  RETURN_IF_ERROR(writer->Finish());
  return static_cast<int64_t>(merged.tensors().size());
}

}  // namespace sotto::checkpoint
