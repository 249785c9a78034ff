#include "worker/infer/editor.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/status_macros.h"
#include "common/checkpoint/hugging_face_files.h"
#include "common/checkpoint/safetensors_reader.h"
#include "worker/infer/sharded_model.h"

namespace sotto::infer {
namespace {

using checkpoint::SafetensorsReader;

constexpr char kLeft[] = ".left";
constexpr char kRight[] = ".right";

struct Matrix {
  int unit = -1;
  int parameter = -1;
  int64_t rows = 0;
  int64_t columns = 0;
};

absl::StatusOr<Matrix> FindMatrix(const layout::ModelDescription& model, const std::string& path,
                                  const std::string& name) {
  for (size_t unit = 0; unit < model.units.size(); ++unit) {
    for (size_t i = 0; i < model.units[unit].parameters.size(); ++i) {
      const layout::ParameterDescription& parameter = model.units[unit].parameters[i];
      if (name != parameter.name && name != absl::StrCat("transformer.", parameter.name) &&
          name != absl::StrCat("model.", parameter.name)) {
        continue;
      }
      if (parameter.shape.size() != 2) {
        return absl::InvalidArgumentError(absl::StrCat(path, ": ", name, " is no matrix"));
      }
      return Matrix{.unit = static_cast<int>(unit),
                    .parameter = static_cast<int>(i),
                    .rows = parameter.shape[0],
                    .columns = parameter.shape[1]};
    }
  }
  return absl::InvalidArgumentError(absl::StrCat(path, ": the model has no parameter ", name));
}

absl::StatusOr<std::vector<float>> ReadVector(const SafetensorsReader& file,
                                              const std::string& path, const std::string& name,
                                              int64_t elements) {
  const checkpoint::SafetensorsEntry* entry = file.Find(name);
  if (entry == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": tensor ", name, " is missing"));
  }
  if (entry->shape != std::vector<int64_t>{elements}) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": tensor ", name, " must have the shape [", elements, "]"));
  }
  std::vector<float> values(elements);
  RETURN_IF_ERROR(checkpoint::ReadAsFloats({.file = &file, .entry = entry}, /*begin=*/0,
                                           absl::MakeSpan(values)));
  if (!std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); })) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": tensor ", name, " must be finite in float32"));
  }
  return values;
}

void AddOuterProduct(double scale, const std::vector<float>& left, const std::vector<float>& right,
                     const ParameterSlice& slice) {
  const auto columns = static_cast<int64_t>(right.size());
  for (size_t i = 0; i < slice.values.size(); ++i) {
    const int64_t element = slice.first + static_cast<int64_t>(i);
    const double change = scale * left[element / columns] * right[element % columns];
    slice.values[i] = static_cast<float>(slice.values[i] + change);
  }
}

// Names of the matrices, in order.
absl::StatusOr<std::set<std::string>> NamesOf(const SafetensorsReader& file,
                                              const std::string& path) {
  std::set<std::string> names;
  for (const checkpoint::SafetensorsEntry& entry : file.header().entries) {
    absl::string_view name = entry.name;
    if (!absl::ConsumeSuffix(&name, kLeft) && !absl::ConsumeSuffix(&name, kRight)) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": tensor ", entry.name,
                                                     " must be named MATRIX.left or MATRIX.right"));
    }
    names.insert(std::string(name));
  }
  if (!names.empty()) return names;
  return absl::InvalidArgumentError(absl::StrCat(path, " must hold at least one projection"));
}

}  // namespace

absl::StatusOr<int64_t> ApplyProjections(const std::string& path, double scale,
                                         fsdp::ShardedParameters& parameters) {
  ASSIGN_OR_RETURN(const std::unique_ptr<SafetensorsReader> file, SafetensorsReader::Open(path));
  ASSIGN_OR_RETURN(const std::set<std::string> names, NamesOf(*file, path));
  std::set<std::pair<int, int>> edited;
  for (const std::string& name : names) {
    ASSIGN_OR_RETURN(const Matrix matrix, FindMatrix(parameters.model(), path, name));
    if (!edited.insert({matrix.unit, matrix.parameter}).second) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": ", name, " names a matrix that another tensor names too"));
    }
    ASSIGN_OR_RETURN(const std::vector<float> left,
                     ReadVector(*file, path, absl::StrCat(name, kLeft), matrix.rows));
    ASSIGN_OR_RETURN(const std::vector<float> right,
                     ReadVector(*file, path, absl::StrCat(name, kRight), matrix.columns));
    AddOuterProduct(scale, left, right, SliceOf(parameters, matrix.unit, matrix.parameter));
  }
  return static_cast<int64_t>(names.size());
}

}  // namespace sotto::infer
