#include "worker/infer/editor.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/status_macros.h"
#include "common/checkpoint/hugging_face_files.h"
#include "common/checkpoint/safetensors_reader.h"
#include "worker/fsdp/parameter_slice.h"
#include "worker/infer/sharded_model.h"

namespace sotto::infer {
namespace {

using checkpoint::SafetensorsReader;

constexpr char kLeft[] = ".left";
constexpr char kRight[] = ".right";
constexpr char kDirection[] = ".direction";

struct Matrix {
  int unit = -1;
  int parameter = -1;
  int64_t rows = 0;
  int64_t columns = 0;
  bool has_output_columns = false;  // rows are inputs
};

// GPT-2 keeps the maps of its blocks as [inputs, outputs]; every other map is [outputs, inputs]. An
// embedding is [tokens, width] and puts out its rows.
bool HasOutputColumns(const layout::ModelDescription& model, const std::string& parameter) {
  if (parameter == "wte.weight" || parameter == "wpe.weight" ||
      parameter == "embed_tokens.weight") {
    return true;
  }
  return std::holds_alternative<layout::Gpt2Dimensions>(model.family) &&
         parameter != "lm_head.weight";
}

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
                    .columns = parameter.shape[1],
                    .has_output_columns = HasOutputColumns(model, parameter.name)};
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

// Of floats or doubles.
template <typename Vector>
void AddOuterProduct(double scale, const Vector& left, const Vector& right,
                     const fsdp::ParameterSlice& slice) {
  const auto columns = static_cast<int64_t>(right.size());
  for (size_t i = 0; i < slice.values.size(); ++i) {
    const int64_t element = slice.first + static_cast<int64_t>(i);
    const double change = scale * left[element / columns] * right[element % columns];
    slice.values[i] = static_cast<float>(slice.values[i] + change);
  }
}

// To unit length.
absl::StatusOr<std::vector<double>> Normalise(const std::vector<float>& direction,
                                              const std::string& path, const std::string& name) {
  double square = 0;
  for (const float value : direction) square += static_cast<double>(value) * value;
  if (square == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": tensor ", name, kDirection, " must not be zero"));
  }
  std::vector<double> unit(direction.begin(), direction.end());
  for (double& value : unit) value /= std::sqrt(square);
  return unit;
}

// How much of the direction each input puts out: v^T W or, where columns are outputs, W v. Sums in
// the order of the rows or columns, whoever holds them.
std::vector<double> InputsOf(const Matrix& matrix, const std::vector<double>& direction,
                             absl::Span<const float> values) {
  std::vector<double> inputs(matrix.has_output_columns ? matrix.rows : matrix.columns);
  const float* next = values.data();
  for (int64_t row = 0; row < matrix.rows; ++row) {
    for (int64_t column = 0; column < matrix.columns; ++column) {
      const int64_t output = matrix.has_output_columns ? column : row;
      const int64_t input = matrix.has_output_columns ? row : column;
      inputs[input] += direction[output] * *next++;
    }
  }
  return inputs;
}

absl::Status RemoveDirection(double scale, const Matrix& matrix,
                             const std::vector<double>& direction,
                             fsdp::ShardedParameters& parameters) {
  ASSIGN_OR_RETURN(const absl::Span<const float> whole,
                   GatherParameter(parameters, matrix.unit, matrix.parameter));
  const std::vector<double> inputs = InputsOf(matrix, direction, whole);
  const std::vector<double>& left = matrix.has_output_columns ? inputs : direction;
  const std::vector<double>& right = matrix.has_output_columns ? direction : inputs;
  AddOuterProduct(-scale, left, right, fsdp::SliceOf(parameters, matrix.unit, matrix.parameter));
  return absl::OkStatus();
}

// Names of the matrices, in order, and whether they come with a direction.
absl::StatusOr<std::map<std::string, bool>> NamesOf(const SafetensorsReader& file,
                                                    const std::string& path) {
  std::map<std::string, bool> names;
  for (const checkpoint::SafetensorsEntry& entry : file.header().entries) {
    absl::string_view name = entry.name;
    const bool is_direction = absl::ConsumeSuffix(&name, kDirection);
    if (!is_direction && !absl::ConsumeSuffix(&name, kLeft) &&
        !absl::ConsumeSuffix(&name, kRight)) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": tensor ", entry.name,
                       " must be named MATRIX.left, MATRIX.right or MATRIX.direction"));
    }
    const auto [place, is_new] = names.emplace(std::string(name), is_direction);
    if (!is_new && place->second != is_direction) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": ", std::string(name),
                       " must have either .left and .right or .direction, not both"));
    }
  }
  if (!names.empty()) return names;
  return absl::InvalidArgumentError(absl::StrCat(path, " must hold at least one projection"));
}

}  // namespace

absl::StatusOr<int64_t> ApplyProjections(const std::string& path, double scale,
                                         fsdp::ShardedParameters& parameters) {
  ASSIGN_OR_RETURN(const std::unique_ptr<SafetensorsReader> file, SafetensorsReader::Open(path));
  using Names = std::map<std::string, bool>;
  ASSIGN_OR_RETURN(const Names names, NamesOf(*file, path));
  std::set<std::pair<int, int>> edited;
  for (const auto& [name, has_direction] : names) {
    ASSIGN_OR_RETURN(const Matrix matrix, FindMatrix(parameters.model(), path, name));
    if (!edited.insert({matrix.unit, matrix.parameter}).second) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": ", name, " names a matrix that another tensor names too"));
    }
    if (has_direction) {
      const int64_t outputs = matrix.has_output_columns ? matrix.columns : matrix.rows;
      ASSIGN_OR_RETURN(const std::vector<float> direction,
                       ReadVector(*file, path, absl::StrCat(name, kDirection), outputs));
      ASSIGN_OR_RETURN(const std::vector<double> unit, Normalise(direction, path, name));
      RETURN_IF_ERROR(RemoveDirection(scale, matrix, unit, parameters));
      continue;
    }
    ASSIGN_OR_RETURN(const std::vector<float> left,
                     ReadVector(*file, path, absl::StrCat(name, kLeft), matrix.rows));
    ASSIGN_OR_RETURN(const std::vector<float> right,
                     ReadVector(*file, path, absl::StrCat(name, kRight), matrix.columns));
    AddOuterProduct(scale, left, right, fsdp::SliceOf(parameters, matrix.unit, matrix.parameter));
  }
  return static_cast<int64_t>(names.size());
}

}  // namespace sotto::infer
