#include "tests/inference/changed_model.h"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/checkpoint/safetensors_header.h"
#include "common/checkpoint/safetensors_reader.h"
#include "common/checkpoint/safetensors_writer.h"
#include "tests/inference/golden_model.h"

namespace sotto::inference {
namespace {

struct Tensor {
  checkpoint::TensorShape shape;
  std::vector<float> values;
};

// Which the writer of models does not have.
absl::Status WriteDoubles(const std::string& path, const std::vector<Tensor>& tensors) {
  checkpoint::SafetensorsHeader header;
  std::string data;
  for (const Tensor& tensor : tensors) {
    const std::vector<double> values(tensor.values.begin(), tensor.values.end());
    const uint64_t begin = data.size();
    data.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(double));
    header.entries.push_back({.name = tensor.shape.name,
                              .dtype = "F64",
                              .shape = tensor.shape.shape,
                              .begin = begin,
                              .end = data.size()});
  }
  const std::string text = checkpoint::FormatSafetensorsHeader(header);
  const uint64_t length = text.size();
  const std::string prefix(reinterpret_cast<const char*>(&length), sizeof(length));
  return AtomicWriteFile(path, absl::StrCat(prefix, text, data));
}

}  // namespace

absl::Status WriteChanged(
    const std::string& golden, const std::string& to, const std::string& dtype,
    absl::FunctionRef<void(const std::string& tensor, absl::Span<float> values)> change) {
  const std::string source = golden + "/model.safetensors";
  ASSIGN_OR_RETURN(const auto file, checkpoint::SafetensorsReader::Open(source));
  std::vector<Tensor> tensors;
  std::vector<checkpoint::TensorShape> shapes;
  for (const checkpoint::SafetensorsEntry& entry : file->header().entries) {
    shapes.push_back({.name = entry.name, .shape = entry.shape, .dtype = dtype});
    tensors.push_back({.shape = shapes.back(), .values = ReadTensor<float>(source, entry.name)});
    change(entry.name, absl::MakeSpan(tensors.back().values));
  }
  std::filesystem::create_directory(to);
  ASSIGN_OR_RETURN(const std::string config, ReadFile(golden + "/config.json"));
  RETURN_IF_ERROR(AtomicWriteFile(to + "/config.json", config));
  if (dtype == "F64") return WriteDoubles(to + "/model.safetensors", tensors);
  ASSIGN_OR_RETURN(
      checkpoint::SafetensorsWriter writer,
      checkpoint::SafetensorsWriter::Create(to + "/model.safetensors", shapes, /*metadata=*/{}));
  for (const Tensor& tensor : tensors) RETURN_IF_ERROR(writer.Append(tensor.values));
  return writer.Finish().status();
}

}  // namespace sotto::inference
