#include "tests/integration/testing/tiny_model.h"

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "common/base/status_macros.h"
#include "common/checkpoint/hugging_face_writer.h"
#include "common/layout/init_values.h"
#include "common/spec/hugging_face_config_writer.h"
#include "common/spec/model_layout.h"

namespace sotto::integration {
namespace {

constexpr uint64_t kSeed = 7;

struct Tensor {
  const layout::ParameterDescription* parameter;
  int64_t index;
};

}  // namespace

v1::ModelSpec TinyModel() {
  v1::ModelSpec model;
  v1::Gpt2Spec& gpt2 = *model.mutable_gpt2();
  gpt2.set_vocabulary_size(257);
  gpt2.set_width(16);
  gpt2.set_layers(2);
  gpt2.set_heads(2);
  gpt2.set_max_length(16);
  gpt2.set_init_stddev(0.5);
  return model;
}

absl::Status WriteModel(const v1::ModelSpec& model, const std::string& directory,
                        const std::string& missing) {
  ASSIGN_OR_RETURN(const spec::HuggingFaceConfigText config,
                   spec::FormatHuggingFaceConfig(model, "F32"));
  ASSIGN_OR_RETURN(const layout::ModelDescription description, spec::DescribeModel(model));
  std::vector<Tensor> tensors;
  std::vector<checkpoint::TensorShape> shapes;
  int64_t index = 0;
  for (const layout::UnitDescription& unit : description.units) {
    for (const layout::ParameterDescription& parameter : unit.parameters) {
      if (parameter.name != missing) {
        tensors.push_back({&parameter, index});
        shapes.push_back({checkpoint::HuggingFaceName(config.model_type, parameter.name),
                          {parameter.shape.begin(), parameter.shape.end()}});
      }
      ++index;
    }
  }
  ASSIGN_OR_RETURN(const auto writer, checkpoint::HuggingFaceWriter::Create(
                                          {.directory = directory, .config = config.json}, shapes));
  for (const Tensor& tensor : tensors) {
    std::vector<float> values(static_cast<size_t>(tensor.parameter->num_elements()));
    layout::FillInitialValues(*tensor.parameter, kSeed, tensor.index, 0, absl::MakeSpan(values));
    RETURN_IF_ERROR(writer->Append(values));
  }
  return writer->Finish();
}

absl::Status WriteTinyModel(const std::string& directory, const std::string& missing) {
  return WriteModel(TinyModel(), directory, missing);
}

}  // namespace sotto::integration
