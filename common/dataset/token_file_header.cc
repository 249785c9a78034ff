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

}  // namespace

std::string EncodeHeader(const TokenFileHeader& header) {
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
      IntegerOf(object, "format_version", kTokenFileFormatVersion, kTokenFileFormatVersion));
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
