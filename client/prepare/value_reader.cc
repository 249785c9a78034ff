#include "client/prepare/value_reader.h"

#include <cmath>
#include <cstring>
#include <memory>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "client/prepare/label.h"
#include "common/base/status_macros.h"
#include "common/checkpoint/safetensors_reader.h"
#include "nlohmann/json.hpp"

namespace sotto::client {
namespace {

using checkpoint::SafetensorsEntry;
using checkpoint::SafetensorsReader;
using dataset::ValueType;
using nlohmann::json;

constexpr int64_t kMostExtent = int64_t{1} << 26;

absl::Status LineError(size_t line, absl::string_view rule) {
  return absl::InvalidArgumentError(absl::StrCat("line ", line, ": ", rule));
}

absl::StatusOr<std::vector<float>> Numbers(const json& object, const char* name, size_t line) {
  const auto error = [&] {
    return LineError(line, absl::StrCat("field \"", name, "\" must be an array of finite numbers"));
  };
  const auto field = object.find(name);
  if (field == object.end() || !field->is_array()) return error();
  std::vector<float> numbers;
  for (const json& value : *field) {
    if (!value.is_number()) return error();
    numbers.push_back(value.get<float>());
    if (!std::isfinite(numbers.back())) return error();
  }
  return numbers;
}

absl::StatusOr<ValueRecord> ParseRecord(absl::string_view text, int32_t classes, size_t line) {
  const json object = json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return LineError(line, "must be one JSON object");
  for (const auto& [name, value] : object.items()) {
    if (name != "values" && name != "label" && name != "targets") {
      return LineError(line, "may only have the fields \"values\", \"label\" and \"targets\"");
    }
  }
  ValueRecord record;
  ASSIGN_OR_RETURN(record.floats, Numbers(object, "values", line));
  if (object.contains("targets")) {
    ASSIGN_OR_RETURN(record.targets, Numbers(object, "targets", line));
  }
  const absl::StatusOr<int32_t> label = LabelOf(object, classes);
  if (!label.ok()) return LineError(line, label.status().message());
  record.label = *label;
  record.place = static_cast<int64_t>(line);
  return record;
}

absl::StatusOr<std::array<int32_t, 3>> ShapeOf(const std::vector<int32_t>& given, size_t values) {
  if (given.empty()) return std::array<int32_t, 3>{1, 1, static_cast<int32_t>(values)};
  if (given.size() != 3) {
    return absl::InvalidArgumentError(
        absl::StrCat("--shape must be channels,height,width, but has ", given.size(), " numbers"));
  }
  for (const int32_t extent : given) {
    if (extent >= 1) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "--shape must have dimensions of at least 1, but is ", absl::StrJoin(given, ",")));
  }
  return std::array<int32_t, 3>{given[0], given[1], given[2]};
}

absl::Status TensorError(absl::string_view name, absl::string_view rule) {
  return absl::InvalidArgumentError(absl::StrCat("tensor \"", name, "\" ", rule));
}

// A tensor with a row per record.
absl::Status CheckRows(const SafetensorsEntry& entry, absl::string_view dtype, size_t dimensions,
                       int64_t records) {
  bool fits = entry.dtype == dtype && entry.shape.size() == dimensions &&
              (records < 0 || entry.shape[0] == records);
  for (const int64_t extent : entry.shape) fits = fits && extent >= 1 && extent <= kMostExtent;
  if (fits) return absl::OkStatus();
  return TensorError(entry.name, absl::StrCat("must be ", dtype, " with ", dimensions,
                                              " dimensions and a row for every record"));
}

template <typename T>
std::vector<T> Row(const SafetensorsReader& file, const SafetensorsEntry& entry, int64_t record) {
  const int64_t elements = entry.num_elements() / entry.shape[0];
  std::vector<T> row(static_cast<size_t>(elements));
  std::memcpy(row.data(), file.Bytes(entry).data() + record * elements * sizeof(T),
              row.size() * sizeof(T));
  return row;
}

// The tensors of one file.
struct Tensors {
  const SafetensorsEntry* values = nullptr;
  const SafetensorsEntry* labels = nullptr;
  const SafetensorsEntry* targets = nullptr;
};

absl::StatusOr<Tensors> FindTensors(const SafetensorsReader& file, int32_t classes) {
  Tensors tensors{.labels = file.Find("labels"), .targets = file.Find("targets")};
  for (const SafetensorsEntry& entry : file.header().entries) {
    if (entry.name == "images" || entry.name == "vectors") {
      if (tensors.values != nullptr) return TensorError(entry.name, "excludes the other one");
      tensors.values = &entry;
    } else if (entry.name != "labels" && entry.name != "targets") {
      return TensorError(entry.name, "is none of images, vectors, labels, targets");
    }
  }
  if (tensors.values == nullptr) return TensorError("images", "or \"vectors\" is missing");
  const bool is_image = tensors.values->name == "images";
  const bool is_bytes = is_image && tensors.values->dtype == "U8";
  RETURN_IF_ERROR(CheckRows(*tensors.values, is_bytes ? "U8" : "F32", is_image ? 4 : 2, -1));
  const int64_t records = tensors.values->shape[0];
  if ((classes > 0) != (tensors.labels != nullptr)) {
    return TensorError("labels", "and --classes need each other");
  }
  if (tensors.labels != nullptr) RETURN_IF_ERROR(CheckRows(*tensors.labels, "I64", 1, records));
  if (tensors.targets != nullptr) RETURN_IF_ERROR(CheckRows(*tensors.targets, "F32", 2, records));
  return tensors;
}

}  // namespace

absl::StatusOr<ValueRecords> ReadValueLines(absl::string_view content,
                                            const std::vector<int32_t>& shape, int32_t classes) {
  ValueRecords all;
  size_t number = 0;
  for (absl::string_view line : absl::StrSplit(content, '\n')) {
    ++number;
    if (absl::StripAsciiWhitespace(line).empty()) continue;
    ASSIGN_OR_RETURN(ValueRecord record, ParseRecord(line, classes, number));
    if (all.records.empty()) {
      ASSIGN_OR_RETURN(all.options.shape, ShapeOf(shape, record.floats.size()));
      all.options.classes = classes;
      all.options.targets = static_cast<int32_t>(record.targets.size());
    }
    const int64_t values =
        int64_t{all.options.shape[0]} * all.options.shape[1] * all.options.shape[2];
    if (static_cast<int64_t>(record.floats.size()) != values) {
      return LineError(number, absl::StrCat("must have ", values, " values"));
    }
    if (static_cast<int32_t>(record.targets.size()) != all.options.targets) {
      return LineError(number, absl::StrCat("must have ", all.options.targets, " targets"));
    }
    all.records.push_back(std::move(record));
  }
  return all;
}

absl::StatusOr<ValueRecords> ReadValueTensors(const std::string& path, int32_t classes) {
  ASSIGN_OR_RETURN(const std::unique_ptr<SafetensorsReader> file, SafetensorsReader::Open(path));
  ASSIGN_OR_RETURN(const Tensors tensors, FindTensors(*file, classes));
  const SafetensorsEntry& values = *tensors.values;
  const bool is_bytes = values.dtype == "U8";
  ValueRecords all;
  all.options.value_type = is_bytes ? ValueType::kUint8 : ValueType::kFloat32;
  all.options.classes = classes;
  all.options.shape = {1, 1, static_cast<int32_t>(values.shape[1])};
  if (values.shape.size() == 4) {
    for (size_t i = 0; i < 3; ++i) all.options.shape[i] = static_cast<int32_t>(values.shape[i + 1]);
  }
  if (tensors.targets != nullptr) {
    all.options.targets = static_cast<int32_t>(tensors.targets->shape[1]);
  }
  for (int64_t i = 0; i < values.shape[0]; ++i) {
    ValueRecord& record = all.records.emplace_back();
    record.place = i + 1;
    if (is_bytes) {
      record.bytes = Row<uint8_t>(*file, values, i);
    } else {
      record.floats = Row<float>(*file, values, i);
    }
    if (tensors.labels != nullptr) {
      const int64_t label = Row<int64_t>(*file, *tensors.labels, i)[0];
      if (label < 0 || label >= classes) {
        return TensorError("labels", absl::StrCat("must be in [0, ", classes, ")"));
      }
      record.label = static_cast<int32_t>(label);
    }
    if (tensors.targets != nullptr) record.targets = Row<float>(*file, *tensors.targets, i);
  }
  return all;
}

}  // namespace sotto::client
