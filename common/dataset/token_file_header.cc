#include "common/dataset/token_file_header.h"

#include <limits>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "nlohmann/json.hpp"

namespace sotto::dataset {

namespace {

using Json = nlohmann::ordered_json;

absl::StatusOr<int64_t> IntegerOf(const Json& object, const char* field, int64_t min, int64_t max) {
  const auto found = object.find(field);
  if (found == object.end()) {
    return absl::InvalidArgumentError(absl::StrCat("token file header: ", field, " is missing"));
  }
  if (!found->is_number_integer()) {
    return absl::InvalidArgumentError(
        absl::StrCat("token file header: ", field, " must be an integer"));
  }
  // As unsigned first: a value beyond int64 must not wrap into the range.
  const bool too_large =
      found->is_number_unsigned() &&
      found->get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  const int64_t value = too_large ? max : found->get<int64_t>();
  if (too_large || value < min || value > max) {
    return absl::InvalidArgumentError(absl::StrCat("token file header: ", field, " must be in [",
                                                   min, ", ", max, "], but is ", found->dump()));
  }
  return value;
}

// A record's values, and its targets, are at most this many.
constexpr int64_t kMostValues = int64_t{1} << 26;

const char* ValueTypeName(ValueType type) { return type == ValueType::kUint8 ? "u8" : "f32"; }

std::string EncodeValueHeader(const TokenFileHeader& header) {
  Json object({{"format_version", kValueFileFormatVersion},
               {"value_type", ValueTypeName(header.value_type)},
               {"shape", header.shape},
               {"records", header.records}});
  if (header.classes > 0) object["classes"] = header.classes;
  if (header.targets > 0) object["targets"] = header.targets;
  return object.dump(1);
}

absl::StatusOr<ValueType> ValueTypeOf(const Json& object) {
  const auto type = object.find("value_type");
  if (type != object.end() && *type == "u8") return ValueType::kUint8;
  if (type != object.end() && *type == "f32") return ValueType::kFloat32;
  return absl::InvalidArgumentError("token file header: value_type must be \"u8\" or \"f32\"");
}

absl::StatusOr<std::array<int32_t, 3>> ShapeOf(const Json& object) {
  const absl::Status broken = absl::InvalidArgumentError(absl::StrCat(
      "token file header: shape must be [channels, height, width], each at least 1 and at most ",
      kMostValues, " together"));
  const auto found = object.find("shape");
  if (found == object.end() || !found->is_array() || found->size() != 3) return broken;
  std::array<int32_t, 3> shape;
  int64_t product = 1;
  for (size_t i = 0; i < shape.size(); ++i) {
    const Json& extent = (*found)[i];
    if (!extent.is_number_unsigned()) return broken;
    const uint64_t value = extent.get<uint64_t>();
    if (value < 1 || value > kMostValues) return broken;
    product *= static_cast<int64_t>(value);
    if (product > kMostValues) return broken;
    shape[i] = static_cast<int32_t>(value);
  }
  return shape;
}

absl::StatusOr<TokenFileHeader> DecodeValueHeader(const Json& object) {
  constexpr int64_t kInt32Max = std::numeric_limits<int32_t>::max();
  // 2^30 records of 2^26 values of 4 bytes fit int64 with room to spare.
  constexpr int64_t kCountMax = int64_t{1} << 30;
  TokenFileHeader header{.format_version = kValueFileFormatVersion, .max_length = 1};
  ASSIGN_OR_RETURN(header.value_type, ValueTypeOf(object));
  ASSIGN_OR_RETURN(header.shape, ShapeOf(object));
  ASSIGN_OR_RETURN(header.records, IntegerOf(object, "records", 0, kCountMax));
  size_t fields = 4;
  if (object.contains("classes")) {
    ASSIGN_OR_RETURN(header.classes, IntegerOf(object, "classes", 1, kInt32Max));
    ++fields;
  }
  if (object.contains("targets")) {
    ASSIGN_OR_RETURN(header.targets, IntegerOf(object, "targets", 1, kMostValues));
    ++fields;
  }
  if (object.size() != fields) {
    return absl::InvalidArgumentError("token file header: unknown or duplicate fields");
  }
  return header;
}

}  // namespace

std::string EncodeHeader(const TokenFileHeader& header) {
  if (header.has_values()) return EncodeValueHeader(header);
  Json object({{"format_version", header.format_version},
               {"tokenizer", header.tokenizer},
               {"vocabulary_size", header.vocabulary_size},
               {"max_length", header.max_length},
               {"token_bytes", header.token_bytes},
               {"records", header.records},
               {"tokens", header.tokens},
               {"truncated_records", header.truncated_records}});
  if (header.classes > 0) object["classes"] = header.classes;
  return object.dump(1);
}

absl::StatusOr<TokenFileHeader> DecodeHeader(absl::string_view json) {
  constexpr int64_t kInt32Max = std::numeric_limits<int32_t>::max();
  // 2^40 records of 2^40 tokens: sizes in bytes then fit int64 with room to spare.
  constexpr int64_t kCountMax = int64_t{1} << 40;
  const Json object = Json::parse(json.begin(), json.end(), nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) {
    return absl::InvalidArgumentError("token file header: not a JSON object");
  }
  TokenFileHeader header;
  ASSIGN_OR_RETURN(
      header.format_version,
      IntegerOf(object, "format_version", kTokenFileFormatVersion, kValueFileFormatVersion));
  if (header.format_version == kValueFileFormatVersion) return DecodeValueHeader(object);
  ASSIGN_OR_RETURN(header.vocabulary_size, IntegerOf(object, "vocabulary_size", 1, kInt32Max));
  ASSIGN_OR_RETURN(header.max_length, IntegerOf(object, "max_length", 1, kInt32Max));
  ASSIGN_OR_RETURN(header.token_bytes, IntegerOf(object, "token_bytes", 2, 4));
  ASSIGN_OR_RETURN(header.records, IntegerOf(object, "records", 0, kCountMax));
  ASSIGN_OR_RETURN(header.tokens, IntegerOf(object, "tokens", 0, kCountMax));
  ASSIGN_OR_RETURN(header.truncated_records,
                   IntegerOf(object, "truncated_records", 0, header.records));
  if (header.token_bytes == 3) {
    return absl::InvalidArgumentError("token file header: token_bytes must be 2 or 4, but is 3");
  }
  const auto tokenizer = object.find("tokenizer");
  if (tokenizer == object.end() || !tokenizer->is_string()) {
    return absl::InvalidArgumentError("token file header: tokenizer must be a string");
  }
  header.tokenizer = tokenizer->get<std::string>();
  size_t fields = 8;
  if (object.contains("classes")) {
    ASSIGN_OR_RETURN(header.classes, IntegerOf(object, "classes", 1, kInt32Max));
    ++fields;
  }
  if (object.size() != fields) {
    return absl::InvalidArgumentError("token file header: unknown or duplicate fields");
  }
  return header;
}

}  // namespace sotto::dataset
