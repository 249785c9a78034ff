#include "tests/inference/changed_model.h"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/checkpoint/safetensors_header.h"
#include "common/checkpoint/safetensors_layout.h"
#include "common/checkpoint/safetensors_reader.h"
#include "common/checkpoint/safetensors_writer.h"
#include "tests/inference/golden_model.h"

namespace sotto::inference {
namespace {

struct Tensor {
  checkpoint::TensorShape shape;
  std::vector<float> values;
};

// Tensors of any dtype, whose bytes are `data`.
absl::Status WriteRaw(const std::string& path, absl::Span<const checkpoint::TensorShape> shapes,
                      absl::string_view data) {
  ASSIGN_OR_RETURN(const checkpoint::SafetensorsLayout layout,
                   checkpoint::LayOutSafetensors(shapes, /*metadata=*/{}));
  return AtomicWriteFile(path, absl::StrCat(layout.head, data));
}

// Which the writer of models does not have.
absl::Status WriteDoubles(const std::string& path, const std::vector<Tensor>& tensors) {
  std::vector<checkpoint::TensorShape> shapes;
  std::string data;
  for (const Tensor& tensor : tensors) {
    const std::vector<double> values(tensor.values.begin(), tensor.values.end());
    data.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(double));
    shapes.push_back(tensor.shape);
  }
  return WriteRaw(path, shapes, data);
}

absl::Status CopyConfig(const std::string& from, const std::string& to) {
  std::filesystem::create_directory(to);
  ASSIGN_OR_RETURN(const std::string config, ReadFile(from + "/config.json"));
  return AtomicWriteFile(to + "/config.json", config);
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
  RETURN_IF_ERROR(CopyConfig(golden, to));
  if (dtype == "F64") return WriteDoubles(to + "/model.safetensors", tensors);
  ASSIGN_OR_RETURN(
      checkpoint::SafetensorsWriter writer,
      checkpoint::SafetensorsWriter::Create(to + "/model.safetensors", shapes, /*metadata=*/{}));
  for (const Tensor& tensor : tensors) RETURN_IF_ERROR(writer.Append(tensor.values));
  return writer.Finish().status();
}

absl::Status WriteWithBuffers(const std::string& golden, const std::string& to) {
  ASSIGN_OR_RETURN(const auto file,
                   checkpoint::SafetensorsReader::Open(golden + "/model.safetensors"));
  std::vector<checkpoint::TensorShape> shapes;
  std::string data;
  const auto add_copy = [&](const checkpoint::SafetensorsEntry& entry, const std::string& name) {
    const absl::Span<const uint8_t> bytes = file->Bytes(entry);
    shapes.push_back({.name = name, .shape = entry.shape, .dtype = entry.dtype});
    data.append(bytes.begin(), bytes.end());
  };
  const auto add_buffer = [&](const std::string& name, const std::vector<int64_t>& shape,
                              const std::string& dtype) {
    shapes.push_back({.name = name, .shape = shape, .dtype = dtype});
    for (int64_t i = 0; i < shapes.back().num_bytes(); ++i) data.push_back(static_cast<char>(i));
  };
  add_buffer("transformer.h.0.attn.bias", {1, 1, 5, 7}, "BOOL");
  for (const checkpoint::SafetensorsEntry& entry : file->header().entries) {
    add_copy(entry, entry.name);
    if (entry.name == "transformer.wte.weight") add_copy(entry, "lm_head.weight");
  }
  add_buffer("transformer.h.1.attn.bias", {1, 1, 3, 3}, "U8");
  add_buffer("transformer.h.1.attn.masked_bias", {}, "BF16");
  add_buffer("transformer.rotary_emb.inv_freq", {11}, "F64");
  RETURN_IF_ERROR(CopyConfig(golden, to));
  return WriteRaw(to + "/model.safetensors", shapes, data);
}

}  // namespace sotto::inference
