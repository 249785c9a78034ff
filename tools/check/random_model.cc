#include "tools/check/random_model.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "common/base/status_macros.h"
#include "common/checkpoint/hugging_face_writer.h"
#include "common/layout/init_values.h"
#include "common/layout/model_description.h"
#include "common/spec/hugging_face_config_writer.h"
#include "common/spec/model_layout.h"
#include "tools/check/arguments.h"

namespace sotto::check {
namespace {

constexpr int64_t kPieceElements = int64_t{1} << 20;

absl::Status WriteParameter(const layout::ParameterDescription& parameter, uint64_t seed,
                            int64_t index, checkpoint::HuggingFaceWriter& writer) {
  std::vector<float> piece;
  const int64_t elements = parameter.num_elements();
  for (int64_t begin = 0; begin < elements; begin += kPieceElements) {
    piece.resize(std::min(kPieceElements, elements - begin));
    layout::FillInitialValues(parameter, seed, index, begin, absl::MakeSpan(piece));
    RETURN_IF_ERROR(writer.Append(piece));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<int64_t> WriteRandomModel(const RandomModelOptions& options) {
  ASSIGN_OR_RETURN(const v1::ModelSpec spec, ParseModel(options.model));
  if (spec.has_adaptation()) {
    return absl::InvalidArgumentError("--model must have no adaptation: jobs add adapters");
  }
  ASSIGN_OR_RETURN(const layout::ModelDescription model, spec::DescribeModel(spec));
  ASSIGN_OR_RETURN(spec::HuggingFaceConfigText config,
                   spec::FormatHuggingFaceConfig(spec, options.dtype));
  std::vector<checkpoint::TensorShape> shapes;
  for (const layout::UnitDescription& unit : model.units) {
    for (const layout::ParameterDescription& parameter : unit.parameters) {
      shapes.push_back({.name = checkpoint::HuggingFaceName(config.model_type, parameter.name),
                        .shape = parameter.shape,
                        .dtype = options.dtype});
    }
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<checkpoint::HuggingFaceWriter> writer,
                   checkpoint::HuggingFaceWriter::Create(
                       {.directory = options.out, .config = std::move(config.json)}, shapes));
  int64_t index = 0;  // canonical
  for (const layout::UnitDescription& unit : model.units) {
    for (const layout::ParameterDescription& parameter : unit.parameters) {
      RETURN_IF_ERROR(WriteParameter(parameter, options.seed, index++, *writer));
    }
  }
  RETURN_IF_ERROR(writer->Finish());
  return model.num_elements();
}

}  // namespace sotto::check
